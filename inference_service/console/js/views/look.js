/** Look at a garment: a file or the camera in, its stained square centimetres out. */

import { Camera } from "../camera.js";
import { detect } from "../detect.js";
import { announce, el, replace } from "../dom.js";
import { t } from "../i18n.js";
import { problem } from "../problems.js";
import { ScaleChooser } from "../scale.js";
import { Stage } from "../stage.js";

export const scopes = ["detect"];

export function create() {
  return new Look();
}

class Look {
  constructor() {
    this.stage = new Stage();
    this.scale = new ScaleChooser();
    this.camera = null;
    this.shot = null;
    this.busy = null;
    this.continuous = false;
    this._build();
    this._receive();
  }

  show() {}

  hide() {
    this._stopCamera();
  }

  _build() {
    this.file = el("input.unseen", { type: "file", accept: "image/jpeg,image/png", id: "file",
      onchange: () => this._take(this.file.files[0]) });
    const pick = el("label.button.primary", { for: "file", t: "look.choose" });
    this.cameraButton = el("button", { type: "button", t: "camera.start", onclick: () => this._startCamera() });
    this.drop = el("div.drop", {},
      el("p.big", { t: "look.drop" }), el("p.quiet", { t: "look.kinds" }),
      el("div.row", {}, this.file, pick, this.cameraButton),
      Camera.available() ? null : el("p.quiet.small", { t: "camera.insecure" }));
    this.cameraButton.disabled = !Camera.available();
    this.live = el("div.live-camera", { hidden: true });
    this.trouble = el("div");
    this.go = el("button.primary.wide", { type: "submit", t: "look.find", disabled: true });
    this.other = el("button.wide", { type: "button", t: "look.other", hidden: true, onclick: () => this._again() });
    this.form = el("form.card.settings", { onsubmit: (event) => this._submit(event) },
      this.scale.node, this._garment(), this.go, this.other, this.trouble);
    this.node = el("div.view.look", {},
      el("h1", { tabindex: -1, t: "look.title" }),
      el("div.columns", {},
        el("div.main", {}, this.drop, this.live, this.stage.node, this.stage.told, this.stage.list),
        el("div.side", {}, this.form, this.stage.inspector.node)));
    this.stage.node.hidden = true;
  }

  _garment() {
    this.ticket = el("input", { id: "ticket", maxlength: 128, autocomplete: "off" });
    this.side = el("select", { id: "side" },
      ["none", "front", "back"].map((side) => el("option", { value: side === "none" ? "" : side, t: `side.${side}` })));
    return el("fieldset", {}, el("legend", { t: "look.garment" }),
      el("div.pair", {},
        el("div.field", {}, el("label", { for: "ticket", t: "look.ticket" }), this.ticket),
        el("div.field", {}, el("label", { for: "side", t: "look.side" }), this.side)),
      el("p.quiet.small", { t: "look.garment_help" }));
  }

  /** Pictures come by dropping or pasting anywhere on the page as well. */
  _receive() {
    const { node } = this;
    node.addEventListener("dragover", (event) => {
      event.preventDefault();
      this.drop.classList.add("over");
    });
    node.addEventListener("dragleave", () => this.drop.classList.remove("over"));
    node.addEventListener("drop", (event) => {
      event.preventDefault();
      this.drop.classList.remove("over");
      this._take(event.dataTransfer.files[0]);
    });
    document.addEventListener("paste", (event) => {
      const file = [...(event.clipboardData?.files ?? [])].find((item) => item.type.startsWith("image/"));
      if (file && !node.hidden) this._take(file);
    });
  }

  async _take(file) {
    this.file.value = "";
    if (!file) return;
    await this._preview({ blob: file, name: file.name });
  }

  async _preview(shot) {
    this.busy?.abort();
    replace(this.trouble);
    try {
      shot.picture = await createImageBitmap(shot.blob);
    } catch {
      replace(this.trouble, el("div.problem", { role: "alert" }, el("strong", { t: "problem.bad-picture" }),
        el("p", { t: "look.kinds" })));
      return;
    }
    this.shot = shot;
    this.drop.hidden = true;
    this.stage.node.hidden = this.other.hidden = false;
    this.stage.preview(shot.picture);
    this.go.disabled = false;
    this.go.focus();
    announce(t("look.ready", { name: shot.name }));
  }

  _again() {
    this._stopCamera();
    this.busy?.abort();
    this.shot = null;
    this.stage.clear();
    this.stage.node.hidden = this.other.hidden = true;
    this.drop.hidden = false;
    this.go.disabled = true;
    replace(this.trouble);
    this.file.focus();
  }

  async _submit(event) {
    event.preventDefault();
    if (this.shot) await this._look(this.shot);
  }

  /** Whether a map came. */
  async _look(shot) {
    const query = this.scale.query(shot.picture.width);
    if (!query) return false;
    const ticket = this.ticket.value.trim();
    const garment = ticket && !this.continuous ? { ticket, garment_id: ticket, side: this.side.value } : {};
    this.busy?.abort();
    const busy = new AbortController();
    this.busy = busy;
    this.form.classList.add("busy");
    replace(this.trouble);
    try {
      const found = await detect(shot, { ...query, ...garment }, busy.signal);
      if (busy.signal.aborted) return false;
      this.stage.node.hidden = false;
      this.stage.show(found);
      announce(this.stage.told.firstChild.textContent);
      if (!this.continuous) this.stage.view.canvas.focus({ preventScroll: true }); // its keys go from cell to cell
      return true;
    } catch (error) {
      if (error.name !== "AbortError") replace(this.trouble, problem(error));
      return false;
    } finally {
      if (this.busy === busy) this.form.classList.remove("busy");
    }
  }

  async _startCamera() {
    replace(this.trouble);
    this.camera = new Camera();
    try {
      await this.camera.start();
    } catch (error) {
      this.camera = null;
      replace(this.trouble, el("div.problem", { role: "alert" }, el("strong", { t: "camera.refused" }),
        el("p", { lang: "en" }, String(error.message))));
      return;
    }
    const snap = el("button.primary", { type: "button", t: "camera.take", onclick: () => this._snap() });
    const keep = el("input", { type: "checkbox", id: "continuous", onchange: () => this._continue(keep.checked) });
    replace(this.live, this.camera.video, el("div.row", {}, snap,
      el("label.check", {}, keep, el("span", { t: "camera.continuous" })),
      el("button", { type: "button", t: "camera.stop", onclick: () => this._again() })));
    this.drop.hidden = true;
    this.live.hidden = false;
    snap.focus();
  }

  async _snap() {
    const shot = await this._frame();
    if (!shot) return;
    this._stopCamera();
    await this._preview(shot);
  }

  /** What the camera sees, with its picture; null where it shows nothing (any more). */
  async _frame() {
    const shot = await this.camera.frame();
    if (shot) shot.picture = await createImageBitmap(shot.blob);
    return shot;
  }

  /** Frame after frame: the next one is taken when the last was answered, so nothing ever queues. */
  async _continue(on) {
    this.continuous = on;
    this.live.classList.toggle("small-camera", on);
    while (this.continuous && this.camera) {
      const shot = await this._frame();
      if (!shot || (this.continuous && !(await this._look(shot)))) break;
      await new Promise((done) => requestAnimationFrame(done));
    }
    this.continuous = false;
    const box = this.live.querySelector("#continuous");
    if (box) box.checked = false;
  }

  _stopCamera() {
    this.continuous = false;
    this.camera?.stop();
    this.camera = null;
    this.live.hidden = true;
    this.live.classList.remove("small-camera");
    replace(this.live);
    if (this.stage.node.hidden) this.drop.hidden = false;
  }
}
