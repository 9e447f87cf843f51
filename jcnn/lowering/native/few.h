// Correlations of few features at stride 1 along a row: vectors hold outputs beside each other, for
// which a block of the images is laid out with each channel's pixels beside each other.
#pragma once

#include <algorithm>
#include <vector>

#include "parallel.h"
#include "product.h"
#include "seen.h"

namespace jcnn {

struct Few {
  // Vectors of outputs beside each other, and features, whose sums share what is read.
  static constexpr int kBeside = 8, kShared = 3;

  // What a block's windows see, (rows, channels, pixels), kLanes pixels more than there are: where
  // each line begins, how far a row and a channel are from the next.
  struct Planes {
    const float* at;
    int64_t row, channel;
    std::vector<int64_t> begins;
  };

  // w by features: (groups, features, rows of the window, channels, elements of the row).
  static void Kernels(const Team& team, const Correlation& s, const float* w, float* to) {
    const int64_t across = s.window.right, channels = s.channels(), terms = s.terms();
    Parallel(Needed(s.out.channels * terms, team), s.out.channels, [&](int, int64_t feature) {
      float* kernel = to + feature * terms;
      for (int64_t i = 0; i < s.window.down; ++i)
        for (int64_t c = 0; c < channels; ++c)
          for (int64_t j = 0; j < across; ++j)
            *kernel++ = w[((i * across + j) * channels + c) * s.out.channels + feature];
    });
  }

  // Room: (rows, channels, pixels + kLanes), a row of pixels, (kShared, a line's outputs + kLanes).
  static void Correlate(const Team& team, const Correlation& s, const Room& room, const float* x,
                        const float* w, float* kernels, float* y) {
    const Blocks blocks(s, room.tiles);
    Kernels(team, s, w, kernels);
    Parallel(team, blocks.count(), [&](int worker, int64_t number) {
      const Lines block = blocks[number];
      float* sums = room.at + worker * room.each;
      float* row = sums + kShared * (block.columns() + kLanes);
      for (int64_t g = 0; g < s.groups; ++g) {
        const Planes planes = LayOut(s, block, g, x, row);
        for (int64_t line = 0; line < block.lines(); ++line)
          for (int64_t d = 0; d < s.features(); d += kShared)
            Line(s, block, planes, line, g, d, kernels, sums, y);
      }
    });
  }

  static Planes LayOut(const Correlation& s, const Lines& block, int64_t g, const float* x,
                       float* row) {
    const int64_t channels = s.channels(), left = block.left - s.before.right;
    const int64_t pixels = block.columns() - 1 + s.reach().right, channel = pixels + kLanes;
    float* const begin = row + pixels * channels;
    float* to = begin;
    Planes planes = {begin, channel * channels, channel, {}};
    EachImage(s, block, [&](int64_t number, int64_t first, int64_t last) {
      const int64_t top = s.top(first), end = s.top(last - 1) + s.reach().down;
      for (int64_t line = first; line < last; ++line)
        planes.begins.push_back(to - begin + (s.top(line) - top) * planes.row);
      const float* image = x + number * s.in.whole() + g * channels;
      for (int64_t at = top; at < end; ++at, to += planes.row) {
        CopyRows(s, image, at, 1, left, pixels, row);
        for (int64_t c = 0; c < channels; ++c)
          for (int64_t p = 0; p < pixels; ++p) to[c * channel + p] = row[p * channels + c];
      }
    });
    return planes;
  }

  static void Line(const Correlation& s, const Lines& block, const Planes& planes, int64_t line,
                   int64_t g, int64_t d, const float* kernels, float* sums, float* y) {
    const int64_t columns = block.columns(), whole = columns + kLanes;
    const int64_t features = std::min<int64_t>(kShared, s.features() - d);
    const float* w = kernels + (g * s.features() + d) * s.terms();
    const float* from = planes.at + planes.begins[line];
    const Within rows(s.top(block.first + line), s.window.down, s.dilation.down, s.in.height);
    for (int64_t m = 0; m < columns;)
      m += SomeVectors(s, rows, columns - m, features, planes, from + m, w, sums + m, whole);
    float* to = y + ((block.first + line) * s.out.width + block.left) * s.out.channels +
                g * s.features() + d;
    for (int64_t m = 0; m < columns; ++m)
      for (int64_t f = 0; f < features; ++f) to[m * s.out.channels + f] = sums[f * whole + m];
  }

  // As many vectors as there are, up to kBeside: how many outputs. `rows` of the window are within
  // the image.
  template <int VECTORS = kBeside>
  static int64_t SomeVectors(const Correlation& s, const Within& rows, int64_t columns, int64_t features,
                             const Planes& planes, const float* from, const float* w, float* to,
                             int64_t row) {
    if constexpr (VECTORS > 1)
      if (columns <= (VECTORS - 1) * kLanes)
        return SomeVectors<VECTORS - 1>(s, rows, columns, features, planes, from, w, to, row);
    if (features == 1)
      Sum<1, VECTORS>(s, rows, planes, from, w, to, row);
    else if (features == 2)
      Sum<2, VECTORS>(s, rows, planes, from, w, to, row);
    else
      Sum<3, VECTORS>(s, rows, planes, from, w, to, row);
    return std::min<int64_t>(columns, VECTORS * kLanes);
  }

  template <int FEATURES, int VECTORS>
  static void Sum(const Correlation& s, const Within& rows, const Planes& planes, const float* from,
                  const float* w, float* to, int64_t row) {
    const int64_t terms = s.terms();
    Vector sum[FEATURES][VECTORS] = {};
    w += rows.first * s.channels() * s.window.right;
    for (int64_t i = rows.first; i < rows.last; ++i)
      for (int64_t c = 0; c < s.channels(); ++c) {
        const float* at = from + i * s.dilation.down * planes.row + c * planes.channel;
        for (int64_t j = 0; j < s.window.right; ++j, ++w, at += s.dilation.right)
#pragma GCC unroll 8
          for (int v = 0; v < VECTORS; ++v) {
            const Vector pixels = Load(at + v * kLanes);
#pragma GCC unroll 4
            for (int f = 0; f < FEATURES; ++f) sum[f][v] += w[f * terms] * pixels;
          }
      }
#pragma GCC unroll 4
    for (int f = 0; f < FEATURES; ++f)
#pragma GCC unroll 8
      for (int v = 0; v < VECTORS; ++v) Store(to + f * row + v * kLanes, sum[f][v]);
  }
};

}  // namespace jcnn
