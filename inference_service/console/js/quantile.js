/** Quantiles of what a histogram's buckets gained between two looks. */

/**
 * @param {Array<[number|null, number]>} before, after cumulative buckets [upper edge (null = beyond), count so far]
 * @param {number} share 0 to 1
 * @returns {number|null} the quantile, within its bucket by a straight line; null where nothing was gained
 */
export function gained(before, after, share) {
  const counts = after.map(([, count], at) => count - (before?.[at]?.[1] ?? 0));
  const total = counts.at(-1) ?? 0;
  if (total <= 0) return null;
  const wanted = share * total;
  const at = counts.findIndex((count) => count >= wanted);
  const [low, below] = at ? [after[at - 1][0], counts[at - 1]] : [0, 0];
  const high = after[at][0] ?? low;
  return low + (high - low) * ((wanted - below) / (counts[at] - below || 1));
}
