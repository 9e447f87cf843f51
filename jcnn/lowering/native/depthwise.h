// Correlations of each channel with a window of its own, a vector of channels at a time.
#pragma once

#include <algorithm>

#include "images.h"
#include "parallel.h"
#include "product.h"
#include "seen.h"

namespace jcnn {

struct Depthwise {
  // Outputs beside each other that share each element of the window, and elements of a row of the
  // window whose sums share each cotangent.
  static constexpr int kAbreast = 8, kTaps = 5;
  // Elements of a line of the cache, and outputs from one to that whose line is brought in.
  static constexpr int kLine = 16, kAhead = 16;
  // Lines of a share, at most, and outputs, at least.
  static constexpr int64_t kTogether = 16, kLeast = 64;

  // The outputs of a row whose tap k is inside the image.
  struct Range {
    int64_t first, last;
  };

  static Range Inside(int64_t k, const Correlation& s) {
    const int64_t offset = k * s.dilation.right - s.before.right;  // of output 0
    const int64_t stride = s.strides.right, in = s.in.width, out = s.out.width;
    const auto steps = [stride](int64_t n) { return stride == 1 ? n : n / stride; };  // sooner
    const int64_t first = offset >= 0 ? 0 : steps(-offset + stride - 1);
    const int64_t last = offset >= in ? 0 : steps(in - 1 - offset) + 1;
    return {std::min(first, out), std::max(std::min(last, out), std::min(first, out))};
  }

  // y[m, c] = sum_k w[k, c] x[strides m + dilation k - before, c]. Neighbouring lines are one core's,
  // which reads the rows that they share once.
  static void Correlate(const Team& team, const Correlation& s, const Room&, const float* x,
                        const float* w, float*, float* y) {
    const int64_t most = std::max(kLeast, kTogether * s.out.width);
    const Blocks blocks(s, std::clamp(Shared(s.positions(), team), kLeast, most));
    Parallel(team, blocks.count(), [&](int, int64_t number) {
      const Lines block = blocks[number];
      for (int64_t line = block.first; line < block.last; ++line)
        Line(s, line, {block.left, block.right}, x + line / s.out.height * s.in.whole(), w,
             y + s.begin(line));
    });
  }

  // All channels of some outputs beside each other before the next: memory is read as it lies. The
  // last of those whose taps are all within their rows overlap the ones before, computed twice.
  static void Line(const Correlation& s, int64_t line, const Range& part, const float* image,
                   const float* w, float* to) {
    Range whole = {Inside(0, s).first, Inside(s.window.right - 1, s).last};
    whole.first = std::clamp(whole.first, part.first, part.last);
    whole.last = std::clamp(whole.last, whole.first, part.last);
    const int64_t top = s.top(line), fast = whole.last - whole.first;
    for (int64_t m = part.first; m < whole.first; ++m) Output(s, image, w, top, m, 0, to);
    int64_t m = whole.first;
    if (fast >= kAbreast)
      for (; m < whole.last; m += kAbreast)
        Outputs<kAbreast>(s, image, w, top, std::min(m, whole.last - kAbreast), to);
    else if (fast >= kAbreast / 2)
      for (; m < whole.last; m += kAbreast / 2)
        Outputs<kAbreast / 2>(s, image, w, top, std::min(m, whole.last - kAbreast / 2), to);
    for (m = std::min(m, whole.last); m < part.last; ++m) Output(s, image, w, top, m, 0, to);
  }

  // Outputs beside each other, all of whose taps are within their rows.
  template <int COUNT>
  static void Outputs(const Correlation& s, const float* image, const float* w, int64_t top,
                      int64_t m, float* to) {
    const int64_t channels = s.in.channels, step = s.strides.right * channels;
    const int64_t left = m * s.strides.right - s.before.right;
    const Within rows(top, s.window.down, s.dilation.down, s.in.height);
    int64_t c = 0;
    for (; c + kLanes <= channels; c += kLanes) {
      Vector sum[COUNT] = {};
      AnnounceNext<COUNT>(s, image, top, left, c, to + m * s.results.right() + c);
      for (int64_t i = rows.first; i < rows.last; ++i) {
        const float* from = image + (top + i * s.dilation.down) * s.in.row() + left * channels + c;
        const float* taps = w + i * s.window.right * channels + c;
        for (int64_t j = 0; j < s.window.right; ++j, from += s.dilation.right * channels) {
          const Vector tap = Load(taps + j * channels);
#pragma GCC unroll 8
          for (int o = 0; o < COUNT; ++o) sum[o] += tap * Load(from + o * step);
        }
      }
#pragma GCC unroll 8
      for (int o = 0; o < COUNT; ++o) Store(to + (m + o) * s.results.right() + c, sum[o]);
    }
    if (c < channels)
      for (int64_t o = 0; o < COUNT; ++o) Output(s, image, w, top, m + o, c, to);
  }

  // Brings in what the next line reads below these outputs' windows, into the second cache, and where
  // the next outputs are written: vectors of neighbouring pixels lie too far apart for the processor
  // to see them coming. Inlined: of a call that only does so GCC sees no effect, and leaves it out.
  template <int COUNT>
  static inline __attribute__((always_inline)) void AnnounceNext(
      const Correlation& s, const float* image, int64_t top, int64_t left, int64_t c,
      const float* to) {
    const int64_t channels = s.in.channels, step = s.strides.right * channels;
    const int64_t below = top + s.reach().down;
    if (c % kLine != 0) return;
    for (int64_t i = below; i < std::min(below + s.strides.down, s.in.height); ++i)
      for (int64_t j = 0; j < s.strides.right; ++j) {
        const float* from = image + i * s.in.row() + (left + j) * channels + c;
#pragma GCC unroll 8
        for (int o = 0; o < COUNT; ++o) __builtin_prefetch(from + o * step, 0, 2);
      }
#pragma GCC unroll 8
    for (int o = 0; o < COUNT; ++o) __builtin_prefetch(to + (kAhead + o) * s.results.right(), 1);
  }

  // An output at an edge, or of channels that fill no vector: those from `c` on.
  static void Output(const Correlation& s, const float* image, const float* w, int64_t top,
                     int64_t m, int64_t c, float* to) {
    const int64_t left = m * s.strides.right - s.before.right, channels = s.in.channels;
    const Within rows(top, s.window.down, s.dilation.down, s.in.height);
    const Within columns(left, s.window.right, s.dilation.right, s.in.width);
    const auto some = [&](auto vectors) {
      constexpr int kCount = decltype(vectors)::value;
      Vector sum[kCount] = {};
      const int64_t rest = channels - c;
      for (int64_t i = rows.first; i < rows.last; ++i)
        for (int64_t j = columns.first; j < columns.last; ++j) {
          const float* tap = w + (i * s.window.right + j) * channels + c;
          const float* from = image + (top + i * s.dilation.down) * s.in.row() +
                              (left + j * s.dilation.right) * channels + c;
#pragma GCC unroll 4
          for (int v = 0; v < kCount; ++v)
            if constexpr (kCount > 1)
              sum[v] += Load(tap + v * kLanes) * Load(from + v * kLanes);
            else
              sum[v] += LoadFirst(tap, rest) * LoadFirst(from, rest);
        }
      for (int v = 0; v < kCount; ++v)
        StoreFirst(to + m * s.results.right() + c + v * kLanes, sum[v], rest - v * kLanes);
    };
    for (; c + 4 * kLanes <= channels; c += 4 * kLanes) some(std::integral_constant<int, 4>());
    for (; c < channels; c += kLanes) some(std::integral_constant<int, 1>());
  }

  // dw[k, c] = sum_m dy[m, c] x[strides m + dilation k - before, c]: each part of the images has
  // sums of its own, (parts, taps, channels up to whole vectors), added in one order.
  static void KernelGradient(const Team& team, const Correlation& s, const Room& room,
                             const float* x, const float* dy, float* sums, float* dw) {
    const int64_t channels = s.in.channels, deep = WholeVectors(channels);
    const int64_t lines = s.out.count * s.out.height, whole = s.taps() * deep;
    const int64_t parts = std::min(room.parts, lines);
    Parallel(team, parts, [&](int, int64_t part) {
      float* sum = sums + part * whole;
      std::fill_n(sum, whole, 0.0f);
      for (int64_t line = part * lines / parts; line < (part + 1) * lines / parts; ++line)
        AddLine(s, x, dy, line, sum);
    });
    Parallel(Needed(parts * whole, team), s.taps(), [&](int, int64_t k) {
      for (int64_t c = 0; c < channels; c += kLanes) {
        Vector sum = Load(sums + k * deep + c);
        for (int64_t part = 1; part < parts; ++part) sum += Load(sums + part * whole + k * deep + c);
        StoreFirst(dw + k * channels + c, sum, channels - c);
      }
    });
  }

  static void AddLine(const Correlation& s, const float* x, const float* dy, int64_t line,
                      float* sum) {
    const int64_t channels = s.in.channels, deep = WholeVectors(channels), top = s.top(line);
    const Within rows(top, s.window.down, s.dilation.down, s.in.height);
    const float* first = x + line / s.out.height * s.in.whole() + top * s.in.row();
    const float* cotangents = dy + line * s.out.row();
    for (int64_t c = 0; c < channels; c += kLanes)
      for (int64_t j = 0; j < s.window.right; j += kTaps)
        for (int64_t i = rows.first, count; i < rows.last; i += count) {
          const float* row = first + i * s.dilation.down * s.in.row() + c;
          float* to = sum + (i * s.window.right + j) * deep + c;
          count = SomeTaps(s, s.window.right - j, rows.last - i, row, cotangents + c, channels - c,
                           j, to);
        }
  }

  // Up to kTaps taps of some rows of the window, whose sums fit in registers; how many rows.
  template <int COUNT = kTaps, int ROWS = (COUNT > 3 ? 2 : 3)>
  static int64_t SomeTaps(const Correlation& s, int64_t count, int64_t rows, const float* row,
                          const float* cotangents, int64_t rest, int64_t first, float* to) {
    if (count >= COUNT && rows >= ROWS) {
      AddTaps<COUNT, ROWS>(s, row, cotangents, rest, first, to);
      return ROWS;
    }
    if constexpr (COUNT > 1)
      if (count < COUNT) return SomeTaps<COUNT - 1>(s, count, rows, row, cotangents, rest, first, to);
    if constexpr (ROWS > 1)
      return SomeTaps<COUNT, ROWS - 1>(s, count, rows, row, cotangents, rest, first, to);
    return 0;  // never: there is a tap, and a row
  }

  template <int COUNT, int ROWS>
  static void AddTaps(const Correlation& s, const float* row, const float* cotangents,
                      int64_t rest, int64_t first, float* to) {
    const int64_t channels = s.in.channels, deep = WholeVectors(channels);
    const int64_t tap = s.dilation.right * channels, step = s.strides.right * channels;
    const int64_t down = s.dilation.down * s.in.row(), below = s.window.right * deep;
    const float* from = row + (first * s.dilation.right - s.before.right) * channels;
    Range all = {0, s.out.width}, any = {s.out.width, 0}, each[COUNT];
    Vector sum[ROWS][COUNT];
    for (int k = 0; k < COUNT; ++k) {
      each[k] = Inside(first + k, s);
      all = {std::max(all.first, each[k].first), std::min(all.last, each[k].last)};
      any = {std::min(any.first, each[k].first), std::max(any.last, each[k].last)};
#pragma GCC unroll 4
      for (int i = 0; i < ROWS; ++i) sum[i][k] = Load(to + i * below + k * deep);
    }
    for (int64_t m = any.first; m < any.last;) {
      if (m == all.first && rest >= kLanes)
        for (; m < all.last; ++m) {  // every tap is within the row
          const Vector cotangent = Load(cotangents + m * channels);
          __builtin_prefetch(cotangents + s.out.row() + m * channels);
          __builtin_prefetch(from + ROWS * down + m * step);
#pragma GCC unroll 4
          for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 8
            for (int k = 0; k < COUNT; ++k)
              sum[i][k] += cotangent * Load(from + i * down + m * step + k * tap);
        }
      if (m >= any.last) break;
      const Vector cotangent = LoadFirst(cotangents + m * channels, rest);
#pragma GCC unroll 4
      for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 8
        for (int k = 0; k < COUNT; ++k)
          if (m >= each[k].first && m < each[k].last)
            sum[i][k] += cotangent * LoadFirst(from + i * down + m * step + k * tap, rest);
      ++m;
    }
#pragma GCC unroll 4
    for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 8
      for (int k = 0; k < COUNT; ++k) Store(to + i * below + k * deep, sum[i][k]);
  }
};

}  // namespace jcnn
