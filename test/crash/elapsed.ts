/** Time that passes in a run under load. Nothing is judged by it: it only spreads kills, habits and absences. */
export function elapsed(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
