// Maxima of windows with the element that wins, and what flows back to it, a vector of channels at a
// time:
//
//   y[m] = max_k x[strides m + dilation k - before],   dx[strides m + dilation k - before] += dy[m]
//
// where k is the winner of window m. Padding counts as -inf, and no winner is larger than every k.
#pragma once

#include <algorithm>
#include <limits>

#include "images.h"
#include "parallel.h"
#include "product.h"

namespace jcnn {

typedef int32_t Numbers __attribute__((vector_size(4 * kLanes)));

// Elements i of a window, first to last - 1, that stand within `size` where its first is at `at`.
struct Within {
  int64_t first, last;

  Within(int64_t at, int64_t window, int64_t dilation, int64_t size)
      : first(std::min(at >= 0 ? 0 : (-at + dilation - 1) / dilation, window)),
        last(std::max(first, at >= size ? 0 : std::min((size - 1 - at) / dilation + 1, window))) {}
};

// Winner is an unsigned integer that holds taps and one value more, "none".
template <class Winner>
struct MaxPool {
  static constexpr Winner kNone = std::numeric_limits<Winner>::max();
  // Bytes of an image's gradient that are set to zero and added to while they are in cache.
  static constexpr int64_t kBand = 128 << 10;
  // Elements of a window that a vector of winners is compared with.
  static constexpr int64_t kCompared = 25;

  static Numbers LoadWinners(const Winner* from, int64_t count) {
    typedef Winner Narrow __attribute__((vector_size(sizeof(Winner) * kLanes)));
    Narrow v = {};
    std::memcpy(&v, from, std::min<int64_t>(count, kLanes) * sizeof(Winner));
    return __builtin_convertvector(v, Numbers);
  }

  static void StoreWinners(Winner* to, Numbers winners, int64_t count) {
    typedef Winner Narrow __attribute__((vector_size(sizeof(Winner) * kLanes)));
    const Narrow v = __builtin_convertvector(winners, Narrow);
    std::memcpy(to, &v, std::min<int64_t>(count, kLanes) * sizeof(Winner));
  }

  // NaN in a window gives NaN; `floor`, unless it is NaN, is one element more, that has no index.
  static void Forward(const Team& team, const Correlation& s, const float* x, float floor,
                      float* y, Winner* winner) {
    const int64_t channels = s.in.channels;
    Parallel(team, s.out.count * s.out.height, [&](int, int64_t line) {
      const int64_t top = line % s.out.height * s.strides.down - s.before.down;
      const Within rows(top, s.window.down, s.dilation.down, s.in.height);
      const float* image = x + line / s.out.height * s.in.whole() + top * s.in.row();
      for (int64_t m = 0; m < s.out.width; ++m) {
        const int64_t left = m * s.strides.right - s.before.right;
        const Within columns(left, s.window.right, s.dilation.right, s.in.width);
        const int64_t to = (line * s.out.width + m) * channels;
        for (int64_t c = 0; c < channels; c += kLanes)
          Window(s, rows, columns, image + left * channels + c, channels - c, floor, y + to + c,
                 winner + to + c);
      }
    });
  }

  static void Window(const Correlation& s, const Within& rows, const Within& columns,
                     const float* first, int64_t rest, float floor, float* y,
                     Winner* winner) {
    const int64_t down = s.dilation.down * s.in.row(), right = s.dilation.right * s.in.channels;
    Vector best = Vector{} - std::numeric_limits<float>::infinity();
    Numbers index = {};
    for (int64_t i = rows.first; i < rows.last; ++i) {
      const float* from = first + i * down + columns.first * right;
      int32_t k = static_cast<int32_t>(i * s.window.right + columns.first);
      for (int64_t j = columns.first; j < columns.last; ++j, ++k, from += right) {
        const Vector v = LoadFirst(from, rest);
        const Numbers larger = (v > best) | (v != v);
        best = larger ? v : best;
        index = larger ? Numbers{} + k : index;
      }
    }
    if (floor == floor) {
      const Vector least = Vector{} + floor;
      index = best > least ? index : Numbers{} + static_cast<int32_t>(kNone);
      best = best <= least ? least : best;
    }
    StoreFirst(y, best, rest);
    StoreWinners(winner, index, rest);
  }

  static void Backward(const Team& team, const Correlation& s, const float* dy,
                       const Winner* winner, float* dx) {
    const int64_t row_bytes = s.in.row() * sizeof(float);
    const int64_t rows_each = std::clamp<int64_t>(kBand / row_bytes, 1, s.in.height);
    const int64_t bands = (s.in.height + rows_each - 1) / rows_each;
    Parallel(team, s.out.count * bands, [&](int, int64_t number) {
      const int64_t image = number / bands, first = number % bands * rows_each;
      const int64_t last = std::min(first + rows_each, s.in.height);
      float* to = dx + image * s.in.whole();
      std::fill_n(to + first * s.in.row(), (last - first) * s.in.row(), 0.0f);
      for (int64_t m = 0; m < s.out.height; ++m) {
        // Of the image cut before and after the band.
        const int64_t top = m * s.strides.down - s.before.down;
        const Within rows(top - first, s.window.down, s.dilation.down, last - first);
        if (rows.first < rows.last) AddLine(s, rows, image * s.out.height + m, top, dy, winner, to);
      }
    });
  }

  static void AddLine(const Correlation& s, const Within& rows, int64_t line, int64_t top,
                      const float* dy, const Winner* winner, float* image) {
    const int64_t channels = s.in.channels;
    for (int64_t m = 0; m < s.out.width; ++m) {
      const int64_t left = m * s.strides.right - s.before.right;
      const Within columns(left, s.window.right, s.dilation.right, s.in.width);
      const int64_t from = (line * s.out.width + m) * channels;
      float* first = image + top * s.in.row() + left * channels;
      if (s.taps() <= kCompared)
        for (int64_t c = 0; c < channels; c += kLanes)
          Compare(s, rows, columns, dy + from + c, winner + from + c, channels - c, first + c);
      else
        for (int64_t c = 0; c < channels; ++c)
          Put(s, rows, columns, dy[from + c], winner[from + c], first + c);
    }
  }

  // Every element of the window asks whether it has won.
  static void Compare(const Correlation& s, const Within& rows, const Within& columns,
                      const float* dy, const Winner* winner, int64_t rest, float* first) {
    const int64_t down = s.dilation.down * s.in.row(), right = s.dilation.right * s.in.channels;
    const Vector cotangent = LoadFirst(dy, rest);
    const Numbers winners = LoadWinners(winner, rest);
    for (int64_t i = rows.first; i < rows.last; ++i) {
      float* to = first + i * down + columns.first * right;
      int32_t k = static_cast<int32_t>(i * s.window.right + columns.first);
      for (int64_t j = columns.first; j < columns.last; ++j, ++k, to += right)
        StoreFirst(to, LoadFirst(to, rest) + (winners == k ? cotangent : Vector{}), rest);
    }
  }

  static void Put(const Correlation& s, const Within& rows, const Within& columns, float dy,
                  uint32_t winner, float* first) {
    const uint32_t across = static_cast<uint32_t>(s.window.right);
    const int64_t i = winner / across, j = winner % across;
    if (i < rows.first || i >= rows.last || j < columns.first || j >= columns.last) return;
    first[i * s.dilation.down * s.in.row() + j * s.dilation.right * s.in.channels] += dy;
  }
};

}  // namespace jcnn
