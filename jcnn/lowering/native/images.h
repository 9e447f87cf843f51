// Where images, windows and outputs stand.
#pragma once

#include <cstdint>

namespace jcnn {

struct Images {
  int64_t count, height, width, channels;

  int64_t row() const { return width * channels; }
  int64_t whole() const { return height * row(); }
};

struct Pair {
  int64_t down, right;
};

// y[m] = sum_k w[k] x[strides m + dilation k - before].
struct Correlation {
  Images in, out;
  Pair window, strides, dilation, before;

  int64_t taps() const { return window.down * window.right; }
  int64_t terms() const { return taps() * in.channels; }
  int64_t positions() const { return out.count * out.height * out.width; }
};

}  // namespace jcnn
