// Correlations whose patches are gathered a block of positions at a time, for one matrix product:
//
//   y = patches(x) w,   dw = patches(x)' dy
#pragma once

#include <algorithm>
#include <cstring>

#include "images.h"
#include "parallel.h"
#include "product.h"

namespace jcnn {

// A row of a window: count elements that lie beside each other, zeros where they leave the image.
inline void GatherRow(const Correlation& s, const float* row, int64_t left, float* to) {
  const int64_t channels = s.in.channels;
  if (s.dilation.right == 1) {
    const int64_t from = std::clamp<int64_t>(-left, 0, s.window.right);
    const int64_t end = std::clamp<int64_t>(s.in.width - left, from, s.window.right);
    std::fill_n(to, from * channels, 0.0f);
    std::memcpy(to + from * channels, row + (left + from) * channels,
                (end - from) * channels * sizeof(float));
    std::fill_n(to + end * channels, (s.window.right - end) * channels, 0.0f);
    return;
  }
  for (int64_t k = 0; k < s.window.right; ++k, to += channels) {
    const int64_t at = left + k * s.dilation.right;
    if (at >= 0 && at < s.in.width)
      std::memcpy(to, row + at * channels, channels * sizeof(float));
    else
      std::fill_n(to, channels, 0.0f);
  }
}

// Patches of positions first to last - 1: (positions, terms).
inline void Gather(const Correlation& s, const float* x, int64_t first, int64_t last, float* to) {
  const int64_t run = s.window.right * s.in.channels;
  for (int64_t p = first; p < last; ++p) {
    const int64_t left = p % s.out.width * s.strides.right - s.before.right;
    const int64_t line = p / s.out.width;
    const int64_t top = line % s.out.height * s.strides.down - s.before.down;
    const float* image = x + line / s.out.height * s.in.whole();
    for (int64_t k = 0; k < s.window.down; ++k, to += run) {
      const int64_t at = top + k * s.dilation.down;
      if (at >= 0 && at < s.in.height)
        GatherRow(s, image + at * s.in.row(), left, to);
      else
        std::fill_n(to, run, 0.0f);
    }
  }
}

// Whether patches are the images as they lie.
inline bool InPlace(const Correlation& s) {
  return s.taps() == 1 && s.strides.down == 1 && s.strides.right == 1 &&
         s.in.height == s.out.height && s.in.width == s.out.width && s.before.down == 0 &&
         s.before.right == 0;
}

// Rows of features up to whole vectors.
inline void Widen(const float* from, int64_t rows, int64_t features, int64_t depth, float* to) {
  for (int64_t i = 0; i < rows; ++i) {
    std::memcpy(to + i * depth, from + i * features, features * sizeof(float));
    std::fill(to + i * depth + features, to + (i + 1) * depth, 0.0f);
  }
}

struct Patches {
  // w by panels of features: (panels, terms, kPanel).
  static void Kernels(const Team& team, const Correlation& s, const float* w, float* to) {
    const int64_t features = s.out.channels, depth = WholeVectors(features), terms = s.terms();
    Parallel(team, (depth + kPanel - 1) / kPanel, [&](int, int64_t panel) {
      const int64_t d = panel * kPanel, columns = std::min<int64_t>(kPanel, depth - d);
      for (int64_t k = 0; k < terms; ++k)
        for (int64_t v = 0; v < columns; v += kLanes)
          Store(to + d * terms + k * columns + v,
                LoadFirst(w + k * features + d + v, features - d - v));
    });
  }

  // Room: (positions a block, terms), then (positions a block, features up to whole vectors).
  static void Correlate(const Team& team, const Correlation& s, const Room& room, const float* x,
                        const float* w, float* kernels, float* y) {
    const int64_t features = s.out.channels, depth = WholeVectors(features), terms = s.terms();
    Kernels(team, s, w, kernels);
    Parallel(team, Blocks(s, room), [&](int worker, int64_t number) {
      const int64_t first = number * room.tiles;
      const int64_t last = std::min(first + room.tiles, s.positions()), rows = last - first;
      float* patches = room.at + worker * room.each;
      float* wide = patches + room.tiles * terms;
      float* to = y + first * features;
      if (!InPlace(s)) Gather(s, x, first, last, patches);
      Product<false>(rows, terms, depth, InPlace(s) ? x + first * terms : patches, {terms, 1},
                     {kernels, true}, depth == features ? to : wide);
      if (depth != features)
        for (int64_t i = 0; i < rows; ++i)
          std::memcpy(to + i * features, wide + i * depth, features * sizeof(float));
    });
  }

  // Each part of the blocks has sums of its own, (parts, terms, depth), added in one order.
  static void KernelGradient(const Team& team, const Correlation& s, const Room& room,
                             const float* x, const float* dy, float* sums, float* dw) {
    const int64_t features = s.out.channels, depth = WholeVectors(features), terms = s.terms();
    const int64_t blocks = Blocks(s, room), parts = std::min(room.parts, blocks);
    ParallelSum(team, parts, blocks, terms, kRows, [&](int worker, const Share& share) {
      float* patches = room.at + worker * room.each;
      float* wide = patches + room.tiles * terms;
      for (int64_t number = share.first_block; number < share.last_block; ++number) {
        const int64_t first = number * room.tiles;
        const int64_t last = std::min(first + room.tiles, s.positions());
        const float* cotangents = dy + first * features;
        if (!InPlace(s)) Gather(s, x, first, last, patches);
        if (depth != features) Widen(cotangents, last - first, features, depth, wide);
        const float* rows = (InPlace(s) ? x + first * terms : patches) + share.first_row;
        const auto product = number == share.first_block ? Product<false> : Product<true>;
        product(share.last_row - share.first_row, last - first, depth, rows, {1, terms},
                {depth == features ? cotangents : wide, false},
                sums + (share.part * terms + share.first_row) * depth);
      }
    });
    Parallel(team, terms, [&](int, int64_t k) {
      for (int64_t d = 0; d < features; d += kLanes) {
        const float* from = sums + k * depth + d;
        Vector sum = Load(from);
        for (int64_t part = 1; part < parts; ++part) sum += Load(from + part * terms * depth);
        StoreFirst(dw + k * features + d, sum, features - d);
      }
    });
  }

  static int64_t Blocks(const Correlation& s, const Room& room) {
    return (s.positions() + room.tiles - 1) / room.tiles;
  }
};

}  // namespace jcnn
