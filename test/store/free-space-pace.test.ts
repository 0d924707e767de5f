/** When a disk counts as full, and how soon that is noticed. */
import { expect, test } from "bun:test";
import { FreeSpace } from "../../src/bun/store/free-space.ts";

const MIB = 1024 * 1024;

function begin(totalBytes: number, spareBytes?: number) {
  const disk = { totalBytes, freeBytes: totalBytes };
  const told: boolean[] = [];
  let looks = 0;
  const look = () => {
    looks++;
    return disk;
  };
  const space = new FreeSpace(look, spareBytes, (isFull) => void told.push(isFull));
  space.look();
  return { disk, told, space, looks: () => looks };
}

test.each([
  ["a large disk keeps 256 MiB", 100_000 * MIB, undefined, 256 * MIB],
  ["a small one a twentieth", 1000 * MIB, undefined, 50 * MIB],
  ["a very small one as much as writing back takes", 40 * MIB, undefined, 16 * MIB],
  ["or what was asked for", 100_000 * MIB, MIB, MIB],
])("%s", (_what, totalBytes, spareBytes, spare) => {
  const { disk, told, space } = begin(totalBytes, spareBytes);
  disk.freeBytes = spare;
  space.look();
  expect(told).toEqual([]);
  disk.freeBytes = spare - 1;
  space.look();
  expect(told).toEqual([true]);
  disk.freeBytes = spare * 1.2;
  space.look();
  expect(told).toEqual([true]);
  disk.freeBytes = spare * 1.25;
  space.look();
  expect(told).toEqual([true, false]);
});

test("is noticed before the spare room is used up, however quickly that goes", () => {
  const { disk, told, space, looks } = begin(100_000 * MIB);
  disk.freeBytes = 300 * MIB;
  let written = 0;
  while (told.length === 0 && written < 300 * MIB) {
    disk.freeBytes -= MIB;
    written += MIB;
    space.wrote(MIB);
  }
  expect(told).toEqual([true]);
  expect(disk.freeBytes).toBeGreaterThan(200 * MIB);
  expect(looks()).toBeLessThan(20);
});
