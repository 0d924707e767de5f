/**
 * Topic matching in its plainest form, for comparison: the rules of section 4.7 read one level at a time.
 *
 * Owns nothing of the broker and shares no code with it. Slow on purpose; knows no shared subscriptions and no bounds.
 */

/** Whether the Topic Name matches the (valid) Topic Filter. */
export function naiveMatch(topicFilter: string, topicName: string): boolean {
  if (topicName[0] === "$" && (topicFilter[0] === "+" || topicFilter[0] === "#")) return false;
  return levelsMatch(topicFilter.split("/"), topicName.split("/"));
}

function levelsMatch(filter: readonly string[], name: readonly string[]): boolean {
  const [wanted, ...moreWanted] = filter;
  if (wanted === undefined) return name.length === 0;
  // "#" stands for any number of levels, none included: "a/#" matches "a".
  if (wanted === "#") return true;
  const [level, ...moreLevels] = name;
  if (level === undefined) return false;
  if (wanted !== "+" && wanted !== level) return false;
  return levelsMatch(moreWanted, moreLevels);
}
