// What XLA calls: arrays in, arrays out, and room that XLA lends.
#include <functional>
#include <numeric>

#include "depthwise.h"
#include "few.h"
#include "patches.h"
#include "pools.h"
#include "winograd.h"

namespace jcnn {
namespace {

namespace ffi = xla::ffi;
using Array = ffi::Buffer<ffi::F32>;
using Result = ffi::Result<Array>;
using Integers = ffi::Span<const int64_t>;

struct Places {
  Integers window, strides, dilation, before;

  // A kernel has, before its features, the channels of a group.
  Correlation Between(Integers in, Integers out, Integers kernel) const {
    return Between(in, out, in[3] / kernel[kernel.size() - 2]);
  }

  Correlation Between(Integers in, Integers out, int64_t groups) const {
    const auto images = [](Integers d) {  // examples, if any, and batch; a plane and its channels
      const auto* plane = d.end() - 3;
      const int64_t count = std::accumulate(d.begin(), plane, int64_t{1}, std::multiplies<>());
      return Images{count, plane[0], plane[1], plane[2]};
    };
    const auto pair = [](Integers values) { return Pair{values[0], values[1]}; };
    return {images(in),   images(out),    pair(window), pair(strides),
            pair(dilation), pair(before), groups};
  }
};

// Room is (workers, elements of each).
Team TeamOf(ffi::ThreadPool& pool, Result& room) {
  return {pool, static_cast<int>(room->dimensions()[0])};
}

Room RoomOf(Result& room, int64_t tiles, int64_t parts) {
  return {room->typed_data(), room->dimensions()[1], tiles, parts};
}

// Minimal filtering in pairs of bfloat16, where the processor has them and no group's first channel
// is another's second.
template <class T>
struct InPairs {
  using Pairs = Filter<3, T, kPairs>;

  template <class... Rest>
  static void Correlate(const Team& team, const Correlation& s, const Rest&... rest) {
    if (s.groups == 1 || s.channels() % 2 == 0)
      Pairs::Correlate(team, s, rest...);
    else
      Filter<3, T>::Correlate(team, s, rest...);
  }

  template <class... Rest>
  static void KernelGradient(const Rest&... rest) {
    Pairs::KernelGradient(rest...);
  }
};

template <class Kind, ffi::DataType D = ffi::F32>
ffi::Error Correlate(ffi::ThreadPool pool, ffi::Buffer<D> x, ffi::Buffer<D> w,
                     ffi::Result<ffi::Buffer<D>> y, Result kernels, Result room,
                     Integers window, Integers strides, Integers dilation, Integers before,
                     int64_t tiles, int64_t parts) {
  const Places places = {window, strides, dilation, before};
  const Correlation s = places.Between(x.dimensions(), y->dimensions(), w.dimensions());
  const Team team = TeamOf(pool, room);
  OnPool(team, s.work(), [&] {
    Kind::Correlate(team, s, RoomOf(room, tiles, parts), x.typed_data(), w.typed_data(),
                    kernels->typed_data(), y->typed_data());
  });
  return ffi::Error::Success();
}

// The same into every so many pixels of images, `output` of them from the first on. Given the images
// as a further argument, which are then the result as well, it leaves the others as they are.
template <class Kind>
ffi::Error CorrelateInto(ffi::ThreadPool pool, Array x, Array w, ffi::RemainingArgs, Result y,
                         Result kernels, Result room, Integers window, Integers strides,
                         Integers dilation, Integers before, int64_t tiles, int64_t parts,
                         Integers output, Integers first, Integers every) {
  const Places places = {window, strides, dilation, before};
  Correlation s = places.Between(x.dimensions(), y->dimensions(), w.dimensions());
  s.results = {s.out, {first[0], first[1]}, {every[0], every[1]}};
  s.out.height = output[0];
  s.out.width = output[1];
  const Team team = TeamOf(pool, room);
  OnPool(team, s.work(), [&] {
    Kind::Correlate(team, s, RoomOf(room, tiles, parts), x.typed_data(), w.typed_data(),
                    kernels->typed_data(), y->typed_data());
  });
  return ffi::Error::Success();
}

template <class Kind, ffi::DataType D = ffi::F32>
ffi::Error KernelGradient(ffi::ThreadPool pool, ffi::Buffer<D> x, ffi::Buffer<D> dy,
                          ffi::Result<ffi::Buffer<D>> dw, Result sums, Result room,
                          Integers window, Integers strides, Integers dilation, Integers before,
                          int64_t tiles, int64_t parts) {
  const Places places = {window, strides, dilation, before};
  const Correlation s = places.Between(x.dimensions(), dy.dimensions(), dw->dimensions());
  const Team team = TeamOf(pool, room);
  OnPool(team, s.work(), [&] {
    Kind::KernelGradient(team, s, RoomOf(room, tiles, parts), x.typed_data(), dy.typed_data(),
                         sums->typed_data(), dw->typed_data());
  });
  return ffi::Error::Success();
}

template <class Binding>
auto WithPlaces(Binding binding) {
  return std::move(binding)
      .template Attr<Integers>("window")
      .template Attr<Integers>("strides")
      .template Attr<Integers>("dilation")
      .template Attr<Integers>("before");
}

template <ffi::DataType D = ffi::F32>
auto Bound() {
  return WithPlaces(ffi::Ffi::Bind()
                        .Ctx<ffi::ThreadPool>()
                        .template Arg<ffi::Buffer<D>>()
                        .template Arg<ffi::Buffer<D>>()
                        .template Ret<ffi::Buffer<D>>()
                        .template Ret<Array>()
                        .template Ret<Array>())
      .template Attr<int64_t>("tiles")
      .template Attr<int64_t>("parts");
}

auto BoundInto() {
  return WithPlaces(ffi::Ffi::Bind()
                        .Ctx<ffi::ThreadPool>()
                        .Arg<Array>()
                        .Arg<Array>()
                        .RemainingArgs()
                        .Ret<Array>()
                        .Ret<Array>()
                        .Ret<Array>())
      .Attr<int64_t>("tiles")
      .Attr<int64_t>("parts")
      .Attr<Integers>("output")
      .Attr<Integers>("first")
      .Attr<Integers>("every");
}

// Winners are unsigned integers of a size that holds every index of the window.
template <ffi::DataType WINNER>
ffi::Error Maxima(ffi::ThreadPool pool, Array x, Result y, ffi::Result<ffi::Buffer<WINNER>> winner,
                   Integers window, Integers strides, Integers dilation, Integers before,
                   int64_t workers, float floor) {
  const Places places = {window, strides, dilation, before};
  const Correlation s = places.Between(x.dimensions(), y->dimensions(), x.dimensions().back());
  const Team team = {pool, static_cast<int>(workers)};
  OnPool(team, s.work(), [&] {
    MaxPool<ffi::NativeType<WINNER>>::Run(team, s, x.typed_data(), floor, y->typed_data(),
                                          winner->typed_data());
  });
  return ffi::Error::Success();
}

template <ffi::DataType WINNER>
auto MaximaBound() {
  return WithPlaces(ffi::Ffi::Bind()
                        .Ctx<ffi::ThreadPool>()
                        .Arg<Array>()
                        .Ret<Array>()
                        .template Ret<ffi::Buffer<WINNER>>())
      .template Attr<int64_t>("workers")
      .template Attr<float>("floor");
}

template <ffi::DataType WINNER>
ffi::Error Scattered(ffi::ThreadPool pool, Array dy, ffi::Buffer<WINNER> winner, Result dx,
                     Integers window, Integers strides, Integers dilation, Integers before,
                     int64_t workers) {
  const Places places = {window, strides, dilation, before};
  const Correlation s = places.Between(dx->dimensions(), dy.dimensions(), dy.dimensions().back());
  const Team team = {pool, static_cast<int>(workers)};
  OnPool(team, s.work(), [&] {
    Scatter<ffi::NativeType<WINNER>>::Run(team, s, dy.typed_data(), winner.typed_data(),
                                          dx->typed_data());
  });
  return ffi::Error::Success();
}

template <ffi::DataType WINNER>
auto ScatteredBound() {
  return WithPlaces(ffi::Ffi::Bind()
                        .Ctx<ffi::ThreadPool>()
                        .Arg<Array>()
                        .template Arg<ffi::Buffer<WINNER>>()
                        .template Ret<Array>())
      .template Attr<int64_t>("workers");
}

}  // namespace

#define JCNN_HANDLERS(name, Kind, D)                                                   \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(name##_correlate, (Correlate<Kind, D>), Bound<D>());   \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(name##_kernel_gradient, (KernelGradient<Kind, D>), Bound<D>())

using Bfloat16 = ffi::NativeType<ffi::BF16>;
using BfloatFilter3 = Filter<3, Bfloat16>;
using BfloatFilter5 = Filter<5, Bfloat16>;

JCNN_HANDLERS(winograd_3, Filter<3>, ffi::F32);
JCNN_HANDLERS(winograd_5, Filter<5>, ffi::F32);
JCNN_HANDLERS(winograd_3_pairs, InPairs<float>, ffi::F32);
JCNN_HANDLERS(winograd_3_bfloat16, BfloatFilter3, ffi::BF16);
JCNN_HANDLERS(winograd_5_bfloat16, BfloatFilter5, ffi::BF16);
JCNN_HANDLERS(winograd_3_bfloat16_pairs, InPairs<Bfloat16>, ffi::BF16);
JCNN_HANDLERS(patches, Patches, ffi::F32);
JCNN_HANDLERS(depthwise, Depthwise, ffi::F32);
XLA_FFI_DEFINE_HANDLER_SYMBOL(patches_correlate_into, CorrelateInto<Patches>, BoundInto());
XLA_FFI_DEFINE_HANDLER_SYMBOL(depthwise_correlate_into, CorrelateInto<Depthwise>, BoundInto());
XLA_FFI_DEFINE_HANDLER_SYMBOL(few_correlate, Correlate<Few>, Bound());

XLA_FFI_DEFINE_HANDLER_SYMBOL(max_pool_uint8, Maxima<ffi::U8>, MaximaBound<ffi::U8>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(max_pool_uint16, Maxima<ffi::U16>, MaximaBound<ffi::U16>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(max_pool_uint32, Maxima<ffi::U32>, MaximaBound<ffi::U32>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(scatter_uint8, Scattered<ffi::U8>, ScatteredBound<ffi::U8>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(scatter_uint16, Scattered<ffi::U16>, ScatteredBound<ffi::U16>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(scatter_uint32, Scattered<ffi::U32>, ScatteredBound<ffi::U32>());

}  // namespace jcnn

extern "C" int lanes() { return jcnn::kLanes; }
extern "C" int rows() { return jcnn::kRows; }
extern "C" int pairs() { return jcnn::kPairs; }
