// Maxima of windows with the element that wins, and the adjoint, a vector of channels at a time:
//
//   y[m] = max_k x[strides m + dilation k - before]
//   dx[n] = sum of dy[m] over the windows m whose winner is n
//
// Padding counts as -inf, and the winner of a window is the first element that reaches its maximum.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "images.h"
#include "parallel.h"
#include "product.h"
#include "seen.h"

namespace jcnn {

typedef int32_t Numbers __attribute__((vector_size(4 * kLanes)));

// Winner is an unsigned integer that holds taps and one value more, "none".
template <class Winner>
struct MaxPool {
  static constexpr Winner kNone = std::numeric_limits<Winner>::max();
  // Vectors of channels that share a window's pass: each comparison waits for the one before it.
  static constexpr int kTogether = 4;
  typedef Winner Narrow __attribute__((vector_size(sizeof(Winner) * kLanes)));

  static void StoreWinners(Winner* to, Numbers winners, int64_t count) {
    const Narrow v = __builtin_convertvector(winners, Narrow);
    if (count >= kLanes)
      std::memcpy(to, &v, sizeof v);
    else
      std::memcpy(to, &v, count * sizeof(Winner));
  }

  // NaN in a window gives NaN; `floor`, unless it is NaN, is one element more, that has no index.
  static void Run(const Team& team, const Correlation& s, const float* x, float floor,
                  float* y, Winner* winner) {
    const int64_t channels = s.in.channels;
    const Blocks blocks(s, std::clamp<int64_t>(Shared(s.positions(), team), 1, s.out.width));
    Parallel(team, blocks.count(), [&](int, int64_t number) {
      const Lines block = blocks[number];  // a line, or a part of it
      const int64_t line = block.first, top = s.top(line);
      const Within rows(top, s.window.down, s.dilation.down, s.in.height);
      const float* image = x + line / s.out.height * s.in.whole() + top * s.in.row();
      for (int64_t m = block.left; m < block.right; ++m) {
        const int64_t left = m * s.strides.right - s.before.right;
        const Within columns(left, s.window.right, s.dilation.right, s.in.width);
        const int64_t to = (line * s.out.width + m) * channels;
        const float* first = image + left * channels;
        int64_t c = 0;
        for (; c + kTogether * kLanes <= channels; c += kTogether * kLanes)
          Window<kTogether>(s, rows, columns, first + c, channels - c, floor, y + to + c,
                            winner + to + c);
        for (; c < channels; c += kLanes)
          Window<1>(s, rows, columns, first + c, channels - c, floor, y + to + c, winner + to + c);
      }
    });
  }

  template <int VECTORS>
  static void Window(const Correlation& s, const Within& rows, const Within& columns,
                     const float* first, int64_t rest, float floor, float* y, Winner* winner) {
    const int64_t down = s.dilation.down * s.in.row(), right = s.dilation.right * s.in.channels;
    Vector best[VECTORS];
    Numbers index[VECTORS] = {};
    for (Vector& v : best) v = Vector{} - std::numeric_limits<float>::infinity();
    for (int64_t i = rows.first; i < rows.last; ++i) {
      const float* from = first + i * down + columns.first * right;
      int32_t k = static_cast<int32_t>(i * s.window.right + columns.first);
      for (int64_t j = columns.first; j < columns.last; ++j, ++k, from += right)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; ++v) {
          const Vector x = VECTORS > 1 ? Load(from + v * kLanes) : LoadFirst(from, rest);
          const Numbers larger = (x > best[v]) | (x != x);
          best[v] = larger ? x : best[v];
          index[v] = larger ? Numbers{} + k : index[v];
        }
    }
    for (int v = 0; v < VECTORS; ++v, rest -= kLanes, y += kLanes, winner += kLanes)
      Finish(best[v], index[v], rest, floor, y, winner);
  }

  static void Finish(Vector best, Numbers index, int64_t rest, float floor, float* y,
                     Winner* winner) {
    if (floor == floor) {
      const Vector least = Vector{} + floor;
      index = best > least ? index : Numbers{} + static_cast<int32_t>(kNone);
      best = best <= least ? least : best;
    }
    StoreFirst(y, best, rest);
    StoreWinners(winner, index, rest);
  }
};

template <class Winner>
struct Scatter {
  // Vectors of channels whose sums share what is known of a pixel.
  static constexpr int kTogether = 4;
  typedef Winner Narrow __attribute__((vector_size(sizeof(Winner) * kLanes)));

  // A window along an axis, and which of its elements a place is.
  struct Seen {
    int64_t window, element;
  };

  // The windows that see place n, of `count` that there are; the last of them first.
  static void Windows(int64_t n, int64_t taps, int64_t stride, int64_t dilation, int64_t before,
                      int64_t count, std::vector<Seen>& found) {
    for (int64_t k = 0; k < taps; ++k) {
      const int64_t at = n + before - dilation * k;
      if (at >= 0 && at % stride == 0 && at / stride < count) found.push_back({at / stride, k});
    }
  }

  static Numbers LoadWinners(const Winner* from, int64_t count) {
    Narrow v = {};
    if (count >= kLanes)
      std::memcpy(&v, from, sizeof v);
    else
      std::memcpy(&v, from, count * sizeof(Winner));
    return Widened(v);
  }

  // GCC 12 takes convertvector apart into elements.
  static Numbers Widened(Narrow v) {
#if defined(__AVX512F__)
    if constexpr (sizeof(Winner) == 1) return (Numbers)_mm512_cvtepu8_epi32((__m128i)v);
#elif defined(__AVX2__)
    if constexpr (sizeof(Winner) == 1) {
      __m128i bytes = {};
      std::memcpy(&bytes, &v, sizeof v);
      return (Numbers)_mm256_cvtepu8_epi32(bytes);
    }
#endif
    return __builtin_convertvector(v, Numbers);
  }

  static void Run(const Team& team, const Correlation& s, const float* dy, const Winner* winner,
                  float* dx) {
    std::vector<Seen> across;  // of each pixel of a line
    std::vector<size_t> begins = {0};
    for (int64_t n = 0; n < s.in.width; ++n) {
      Windows(n, s.window.right, s.strides.right, s.dilation.right, s.before.right, s.out.width, across);
      begins.push_back(across.size());
    }
    const int64_t lines = s.in.count * s.in.height, together = std::max<int64_t>(1, Shared(lines, team));
    Parallel(team, (lines + together - 1) / together, [&](int, int64_t number) {
      std::vector<Seen> down;
      for (int64_t line = number * together; line < std::min(lines, (number + 1) * together); ++line) {
        down.clear();
        Windows(line % s.in.height, s.window.down, s.strides.down, s.dilation.down, s.before.down,
                s.out.height, down);
        const int64_t image = line / s.in.height * s.out.whole();
        for (int64_t n = 0; n < s.in.width; ++n)
          Pixel(s, down, across.data() + begins[n], across.data() + begins[n + 1], dy + image,
                winner + image, dx + line * s.in.row() + n * s.in.channels);
      }
    });
  }

  static void Pixel(const Correlation& s, const std::vector<Seen>& down, const Seen* first,
                    const Seen* last, const float* dy, const Winner* winner, float* dx) {
    const int64_t channels = s.in.channels;
    int64_t c = 0;
    for (; c + kTogether * kLanes <= channels; c += kTogether * kLanes)
      Sum<kTogether>(s, down, first, last, channels - c, dy + c, winner + c, dx + c);
    for (; c + 2 * kLanes <= channels; c += 2 * kLanes)
      Sum<2>(s, down, first, last, channels - c, dy + c, winner + c, dx + c);
    for (; c < channels; c += kLanes)
      Sum<1>(s, down, first, last, channels - c, dy + c, winner + c, dx + c);
  }

  template <int VECTORS>
  static void Sum(const Correlation& s, const std::vector<Seen>& down, const Seen* first,
                  const Seen* last, int64_t rest, const float* dy, const Winner* winner, float* dx) {
    Vector sum[VECTORS] = {};
    for (const Seen& row : down)
      for (const Seen* column = first; column < last; ++column) {
        const int64_t at = row.window * s.out.row() + column->window * s.out.channels;
        const auto element = static_cast<int32_t>(row.element * s.window.right + column->element);
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; ++v) {
          const float* from = dy + at + v * kLanes;
          const Vector d = VECTORS > 1 ? Load(from) : LoadFirst(from, rest);
          const int64_t count = VECTORS > 1 ? kLanes : rest;
          sum[v] += LoadWinners(winner + at + v * kLanes, count) == element ? d : Vector{};
        }
      }
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v)
      if (VECTORS > 1)
        Store(dx + v * kLanes, sum[v]);
      else
        StoreFirst(dx, sum[v], rest);
  }
};

}  // namespace jcnn
