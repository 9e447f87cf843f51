// Correlations as matrix products whose patches are read where they lie, in the images or in a block
// of them that has its edges of zeros, and are not written out:
//
//   y = patches(x) w,   dw = patches(x)' dy,   for each group of channels
#pragma once

#include <algorithm>

#include "parallel.h"
#include "product.h"
#include "seen.h"

namespace jcnn {

// Images whose windows are single pixels, one after another, are one line.
inline Correlation Simplest(const Correlation& s) {
  const auto is = [](Pair pair, int64_t n) { return pair.down == n && pair.right == n; };
  if (!is(s.window, 1) || !is(s.strides, 1) || !is(s.before, 0) || s.in.width != s.out.width ||
      s.in.height != s.out.height || !is(s.results.every, 1))
    return s;
  Correlation line = s;
  line.in = {1, 1, s.positions(), s.in.channels};
  line.out = {1, 1, s.positions(), s.out.channels};
  line.results = {line.out, {0, 0}, {1, 1}};
  return line;
}

struct Patches {
  // Positions of a block whose images and cotangents are read as they lie; those of more, of which
  // many rows and columns are taken, are brought together.
  static constexpr int64_t kAsTheyLie = 128;

  // w of each group by panels of its features: (groups, panels, terms, kPanel).
  static void Kernels(const Team& team, const Correlation& s, const float* w, float* to) {
    const int64_t features = s.features(), depth = WholeVectors(features), terms = s.terms();
    const int64_t panels = (depth + kPanel - 1) / kPanel;
    Parallel(Needed(s.groups * depth * terms, team), s.groups * panels, [&](int, int64_t number) {
      const int64_t d = number % panels * kPanel, columns = std::min<int64_t>(kPanel, depth - d);
      const float* from = w + number / panels * features + d;
      float* panel = to + (number / panels * depth + d) * terms;
      for (int64_t k = 0; k < terms; ++k)
        for (int64_t v = 0; v < columns; v += kLanes)
          Store(panel + k * columns + v, LoadFirst(from + k * s.out.channels + v, features - d - v));
    });
  }

  static void Correlate(const Team& team, const Correlation& given, const Room& room, const float* x,
                        const float* w, float* kernels, float* y) {
    const Correlation s = Simplest(given);
    const Blocks blocks(s, room.tiles);
    Kernels(team, s, w, kernels);
    Parallel(team, blocks.count(), [&](int worker, int64_t number) {
      const Lines block = blocks[number];
      const Seen seen = See(s, block, x, room.at + worker * room.each);
      const Runs runs = RunsOf(s, seen.pitch);
      const int64_t together = Together(s);
      for (int64_t g = 0; g < s.groups; ++g)
        for (int64_t d = 0; d < s.features(); d += together)
          for (int64_t line = 0; line < block.lines(); ++line)
            Line(s, block, seen, runs, line, g, d, together, kernels, y);
    });
  }

  // Features that are computed at once: all of them where their kernels stay in a core's own cache
  // beside a block of images, a panel where not, which then meets every line of a block.
  static int64_t Together(const Correlation& s) {
    constexpr int64_t kBytes = 256 << 10;
    const int64_t depth = WholeVectors(s.features());
    return 4 * depth * s.terms() <= kBytes ? std::max<int64_t>(depth, kPanel) : kPanel;
  }

  // Some of a group's features, at a line of a block: as many rows at once as need the fewest
  // products.
  static void Line(const Correlation& s, const Lines& block, const Seen& seen, const Runs& runs,
                   int64_t line, int64_t g, int64_t d, int64_t together, const float* kernels,
                   float* y) {
    const int64_t row = s.strides.right * s.channels(), depth = WholeVectors(s.features());
    const int64_t columns = block.columns(), products = (columns + kRows - 1) / kRows;
    const float* panel = kernels + (g * depth + d) * s.terms();
    const float* from = seen.at + seen.begins[line] + g * seen.group;
    const int64_t step = s.results.right();
    float* to = y + s.begin(block.first + line) + block.left * step + g * s.features() + d;
    const int64_t rest = std::min<int64_t>(together, s.features() - d);
    const int64_t least = columns / products, longer = columns % products;
    for (int64_t i = 0, first = 0; i < products; ++i) {
      const int64_t rows = least + (i < longer), last = first + rows;
      if (seen.far && d == 0) {
        if (i + 1 < products)
          Fetch(from + last * row, (least + (i + 1 < longer) - 1) * row, runs);
        else if (line + 1 < block.lines())
          Fetch(seen.at + seen.begins[line + 1], (least - 1) * row, runs);
      }
      const Factor a = {from + first * row, row, 1, runs.length, runs.begins.data(),
                        static_cast<int64_t>(runs.begins.size())};
      Product<false, false, false>(rows, a, {panel, true, 0}, {to + first * step, step, rest, true});
      first = last;
    }
  }

  // Each part of the blocks has sums of its own, (parts, groups, terms, depth), added in one order.
  // A single part of them, laid out as dw is, is taken there.
  static void KernelGradient(const Team& team, const Correlation& given, const Room& room,
                             const float* x, const float* dy, float* sums, float* dw) {
    const Correlation s = Simplest(given);
    const Blocks blocks(s, room.tiles);
    const int64_t rows = s.groups * s.terms(), depth = WholeVectors(s.features());
    const int64_t parts = std::min(room.parts, blocks.count());
    const bool there = room.parts == 1 && s.groups == 1 && depth == s.features();
    if (there) sums = dw;
    ParallelSum(team, parts, blocks.count(), rows, kRows, [&](int worker, const Share& share) {
      float* to = sums + share.part * rows * depth;
      for (int64_t number = share.first_block; number < share.last_block; ++number)
        AddBlock(s, blocks[number], share, number == share.first_block,
                 room.at + worker * room.each, x, dy, to);
    });
    if (there) return;
    Parallel(Needed(parts * rows * depth, team), rows,
             [&](int, int64_t k) { FromSums(s, k, parts, sums, dw); });
  }

  // patches(x)' dy of a block, or added to what is there: a run of the window after another, whose
  // terms are the positions of the block's lines.
  static void AddBlock(const Correlation& s, const Lines& block, const Share& share, bool first,
                       float* room, const float* x, const float* dy, float* sums) {
    const int64_t features = s.features(), depth = WholeVectors(features);
    const int64_t positions = block.lines() * block.columns();
    const bool together = positions > kAsTheyLie;
    const bool panels = together || depth != features;  // of cotangents, the last of whole vectors
    float* wide = room;
    if (panels) room += positions * depth;
    const Seen seen = See(s, block, x, room);
    const Runs runs = RunsOf(s, seen.pitch);
    const auto product = together ? first ? ProductOfApart<false> : ProductOfApart<true>
                         : first  ? Product<false, false, true>
                                  : Product<true, false, true>;
    for (int64_t g = 0; g < s.groups; ++g) {
      const float* cotangents =
          dy + (block.first * s.out.width + block.left) * s.out.channels + g * features;
      if (panels) ByPanels(cotangents, positions, features, s.out.channels, wide);
      const Columns b = {panels ? wide : cotangents, panels, s.out.channels};
      for (size_t run = 0; run < runs.begins.size(); ++run) {
        const int64_t begin = g * s.terms() + run * runs.length;
        const int64_t from = std::clamp(share.first_row - begin, int64_t{0}, runs.length);
        const int64_t end = std::clamp(share.last_row - begin, int64_t{0}, runs.length);
        const Factor a = {seen.at + runs.begins[run] + g * seen.group + from, 1,
                          s.strides.right * s.channels(), block.columns(), seen.begins.data(),
                          block.lines()};
        product(end - from, a, b, {sums + (begin + from) * depth, depth, depth});
      }
    }
  }

  // Rows of features by panels, (panels, rows, kPanel), the last of whole vectors.
  static void ByPanels(const float* from, int64_t rows, int64_t features, int64_t row, float* to) {
    const int64_t depth = WholeVectors(features);
    for (int64_t i = 0; i < rows; ++i, from += row)
      for (int64_t d = 0; d < depth; d += kLanes) {
        const int64_t panel = d / kPanel * kPanel, wide = std::min<int64_t>(kPanel, depth - panel);
        Store(to + panel * rows + i * wide + d - panel, LoadFirst(from + d, features - d));
      }
  }

  // Row k of (groups, terms) of the sum over parts, to its place in dw, (terms, groups, features).
  static void FromSums(const Correlation& s, int64_t k, int64_t parts, const float* sums, float* dw) {
    const int64_t features = s.features(), depth = WholeVectors(features), terms = s.terms();
    float* to = dw + k % terms * s.out.channels + k / terms * features;
    for (int64_t d = 0; d < features; d += kLanes) {
      const float* from = sums + k * depth + d;
      Vector sum = Load(from);
      for (int64_t part = 1; part < parts; ++part)
        sum += Load(from + part * s.groups * terms * depth);
      StoreFirst(to + d, sum, features - d);
    }
  }
};

}  // namespace jcnn
