/** When a disk is full, and when it is no longer: the part that is spared, and the little more that it takes to be believed. */
import { expect, test } from "bun:test";
import { type DiskSize, FreeSpace } from "../../src/bun/store/free-space.ts";

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

function space(totalBytes: number, spareBytes?: number) {
  const told: boolean[] = [];
  let [freeBytes, looks] = [totalBytes, 0];
  const size = (): DiskSize => {
    looks++;
    return { totalBytes, freeBytes };
  };
  const watch = new FreeSpace(size, spareBytes, (isFull) => void told.push(isFull));
  const free = (bytes: number): void => {
    freeBytes = bytes;
    watch.look();
  };
  return { told, watch, free, looks: () => looks };
}

test.each([
  ["256 MiB of a large disk", 1024 * GIB, undefined, 256 * MIB],
  ["a twentieth of a small one", GIB, undefined, GIB / 20],
  ["what was asked for", GIB, 10 * MIB, 10 * MIB],
] as const)("%s is spared", (_name, totalBytes, spareBytes, spared) => {
  const { told, free } = space(totalBytes, spareBytes);
  free(spared);
  expect(told).toEqual([]);
  free(spared - 1);
  expect(told).toEqual([true]);
  free(0);
  free(spared * 1.25 - 1);
  expect(told).toEqual([true]);
  free(spared * 1.25);
  expect(told).toEqual([true, false]);
  free(spared);
  expect(told).toEqual([true, false]);
});

test("a transaction that found no room makes the disk full, whatever it says, until one has found it again", () => {
  const { told, free, watch } = space(GIB);
  watch.met(true);
  watch.met(true);
  free(GIB);
  expect(told).toEqual([true]);
  watch.met(false);
  expect(told).toEqual([true, false]);
  watch.met(true);
  free(0);
  watch.met(false);
  expect(told).toEqual([true, false, true]);
});

test("it looks every second while there is work or the disk is full, and otherwise every tenth", () => {
  const { watch, looks, free } = space(GIB);
  for (let second = 0; second < 20; second++) watch.second(false);
  expect(looks()).toBe(2);
  for (let second = 0; second < 20; second++) watch.second(true);
  expect(looks()).toBe(22);
  free(0);
  for (let second = 0; second < 20; second++) watch.second(false);
  expect(looks()).toBe(43);
});
