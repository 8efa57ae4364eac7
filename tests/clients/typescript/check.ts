// What both journeys share.

declare const process: { argv: string[] };

/** The address of the server. */
export const url = process.argv[2] ?? "";

/** Fails the journey unless the condition holds. */
export function check(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what);
}
