// A rig's client in C++: one picture by Detect, or one garment in strips by Scan, which goes on after a cut.
//
//   SPOTGRID_KEY=sg_... ./spotgrid_client HOST:PORT detect MM_PER_PX PICTURE
//   SPOTGRID_KEY=sg_... ./spotgrid_client HOST:PORT scan MM_PER_PX WIDTH_PX SCAN_ID STRIP...
//
// Prints a line for each stained cell: row, column, centre in mm (x y), stained mm2, likeliest chemistry, confidence.
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "spotgrid/v1/stain_detection.grpc.pb.h"

namespace v1 = spotgrid::v1;
using Service = v1::StainDetection;

static std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    std::cerr << path << ": cannot be read\n";
    std::exit(2);
  }
  return {std::istreambuf_iterator<char>(file), {}};
}

static void Authorize(grpc::ClientContext& context) {
  const char* key = std::getenv("SPOTGRID_KEY");
  context.AddMetadata("authorization", std::string("Bearer ") + (key ? key : ""));
}

static void Print(const v1::Cell& cell) {
  const auto& c = cell.classes();
  const std::pair<const char*, float> classes[] = {
      {"protein", c.protein()}, {"tannin", c.tannin()},           {"oil", c.oil()},
      {"dye", c.dye()},         {"particulate", c.particulate()}, {"combination", c.combination()}};
  auto best = classes[0];
  for (const auto& one : classes)
    if (one.second > best.second) best = one;
  std::cout << cell.row() << ' ' << cell.col() << ' ' << cell.col() * 10 + 5 << ' ' << cell.row() * 10 + 5 << ' '
            << cell.area_mm2() << ' ' << (cell.unsure() ? "unsure" : best.first) << ' ' << cell.confidence() << '\n';
}

// Tells a refusal as the service words it; true = the same call may succeed later.
static bool Tell(const grpc::Status& status, const grpc::ClientContext& context) {
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto slug = trailers.find("spotgrid-error");
  const std::string kind = slug == trailers.end() ? "unreachable" : std::string(slug->second.data(), slug->second.size());
  std::cerr << kind << ": " << status.error_message() << '\n';
  return kind == "unreachable" || kind == "overloaded" || kind == "unavailable";
}

static int Detect(Service::Stub& stub, double mm_per_px, const std::string& path) {
  v1::DetectRequest request;
  request.set_picture(ReadFile(path));
  request.mutable_settings()->set_mm_per_px(mm_per_px);
  grpc::ClientContext context;
  Authorize(context);
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  v1::DetectResponse response;
  const grpc::Status status = stub.Detect(&context, request, &response);
  if (!status.ok()) {
    Tell(status, context);
    return 1;
  }
  for (const auto& cell : response.stain_map().cells()) Print(cell);
  std::cerr << response.stain_map().stained_area_mm2() << " mm2 stained, " << response.stain_map().age_ms() << " ms old\n";
  return 0;
}

// One stream of a scan. Returns true when the map is here; `received` counts the strips whose results are.
static bool ScanOnce(Service::Stub& stub, const v1::ScanStart& begun, const std::vector<std::string>& strips,
                     unsigned& received, bool& again) {
  grpc::ClientContext context;
  Authorize(context);
  const auto stream = stub.Scan(&context);
  v1::ScanRequest start;
  *start.mutable_start() = begun;
  start.mutable_start()->set_results_received(received);
  stream->Write(start);

  v1::ScanResponse answer;
  bool done = false;
  std::thread writer;
  while (!done && stream->Read(&answer)) {
    if (answer.has_ready()) {
      // Strips go out in a thread of their own: read while you write, or both ends wait for each other.
      writer = std::thread([&, first = answer.ready().next_strip()] {
        v1::ScanRequest request;
        for (unsigned index = first; index < strips.size(); ++index) {
          request.mutable_strip()->set_index(index);
          request.mutable_strip()->set_picture(ReadFile(strips[index]));
          if (!stream->Write(request)) return;
        }
        request.mutable_finish()->set_strips(static_cast<unsigned>(strips.size()));
        stream->Write(request);
        stream->WritesDone();
      });
    } else if (answer.has_result()) {
      if (answer.result().strip() < received) continue;  // the service began anew: this was printed before
      received = answer.result().strip() + 1;
      for (const auto& cell : answer.result().cells()) Print(cell);
    } else if (answer.has_done()) {
      done = true;
      for (const auto& cell : answer.done().cells()) Print(cell);
      std::cerr << answer.done().stain_map().stained_area_mm2() << " mm2 stained\n";
    }
  }
  if (writer.joinable()) writer.join();
  const grpc::Status status = stream->Finish();
  if (!done) again = status.ok() || Tell(status, context);
  return done;
}

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const bool detect = arguments.size() == 4 && arguments[1] == "detect";
  if (!detect && !(arguments.size() >= 6 && arguments[1] == "scan")) {
    std::cerr << "usage: spotgrid_client HOST:PORT detect MM_PER_PX PICTURE\n"
                 "       spotgrid_client HOST:PORT scan MM_PER_PX WIDTH_PX SCAN_ID STRIP...\n";
    return 2;
  }
  grpc::ChannelArguments limits;
  limits.SetMaxReceiveMessageSize(-1);  // a map is as large as its cells
  limits.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10000);  // a dead link is noticed
  // TLS: grpc::SslCredentials({authority, key, certificate}) instead.
  const auto channel = grpc::CreateCustomChannel(arguments[0], grpc::InsecureChannelCredentials(), limits);
  const auto stub = Service::NewStub(channel);
  const double mm_per_px = std::atof(arguments[2].c_str());
  if (detect) return Detect(*stub, mm_per_px, arguments[3]);

  v1::ScanStart begun;
  begun.mutable_settings()->set_mm_per_px(mm_per_px);
  begun.set_width_px(static_cast<unsigned>(std::atoi(arguments[3].c_str())));
  begun.set_scan_id(arguments[4]);
  const std::vector<std::string> strips(arguments.begin() + 5, arguments.end());
  unsigned received = 0;
  for (int tries = 0; tries < 10; ++tries) {
    bool again = false;
    if (ScanOnce(*stub, begun, strips, received, again)) return 0;
    if (!again) return 1;
    std::this_thread::sleep_for(std::chrono::milliseconds(100 << tries));
  }
  return 1;
}
