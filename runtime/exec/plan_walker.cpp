// See plan_walker.h.
#include "runtime/exec/plan_walker.h"
#include "runtime/format/layouts.h"
#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>

namespace bitnet::runtime {

using format::Arg;
using format::Dim;
using format::Elem;
using format::Input;

namespace {

/// Type of a buffer in Halide's coding; f16 travels as u16.
void set_type(format::Buffer &buffer, Elem e) {
  constexpr uint8_t kInt = 0, kUint = 1, kFloat = 2;
  buffer.type_code = e == Elem::f32 ? kFloat : e == Elem::i8 || e == Elem::i32 ? kInt : kUint;
  buffer.type_bits = uint8_t(format::elem_bytes(e) * 8);
  buffer.type_lanes = 1;
}

/// About how long one thread takes, in ns, from measured rates of this project's kernels (spec: multiply-adds
/// per ns, in cache). Only decides how many threads a call is worth, never a result.
double cost_ns(Op op, const OpDims &d, int32_t rows, int32_t last_position) {
  const double r = rows;
  switch (op) {
  case Op::linear_t2:
  case Op::linear_t3:
  case Op::linear_t5:
  case Op::skip_up: // at most
  case Op::skip_down:
    return r * d.n * d.k / 60.0;
  case Op::linear_s8:
    return r * d.n * d.k / 30.0;
  case Op::linear_f16:
    return r * d.n * d.k / 8.0;
  case Op::group_sums:
    return r * d.k / 20.0;
  case Op::skip_sum:
    return r * d.n / 2.0;
  case Op::attention:
  case Op::attention_chunk:
    return r * d.heads * d.head_dim * (last_position + 1.0) / 6.0;
  case Op::attention_q8:
  case Op::attention_chunk_q8:
    return r * d.heads * d.head_dim * (last_position + 1.0) / 12.0;
  case Op::attention_merge:
    return r * d.heads * d.head_dim * (last_position / format::kAttentionChunk + 1.0) / 4.0;
  case Op::rope:
  case Op::head_norm:
    return r * d.heads * d.head_dim / 4.0;
  case Op::kv_append:
  case Op::kv_append_q8:
    return r * d.kv_heads * d.head_dim / 2.0;
  default:
    return r * d.k / 2.0;
  }
}
/// As many threads as have 1.5 µs of work each (handing it out takes 0.1 to 0.3 µs), and pieces of 10 µs or
/// more: a kernel starts its streams anew in each.
Split split_for(double ns, int32_t units, int threads) {
  constexpr double kWorthAThread = 1500, kWorthAPiece = 10000; // ns
  const double wanted = 1 + ns / kWorthAThread, smallest = 1 + units * (kWorthAPiece / ns);
  return {wanted < threads ? int32_t(wanted) : threads, smallest < units ? int32_t(smallest) : units};
}

} // namespace

PlanWalker::PlanWalker(const Model &model, uint8_t *arena, const StepInputs &inputs, const KvCache &cache,
                       int32_t sequences)
    : model_(model), calls_(model.bundle().plan.calls.size()) {
  for (size_t c = 0; c < calls_.size(); ++c) {
    const Call &from = model.bundle().plan.calls[c];
    BoundCall &call = calls_[c];
    const format::Signature &signature = call.signature = format::signature(from.op, from.dims);
    call.op = from.op;
    call.dims = from.dims;
    call.over_logit_rows = from.over_logit_rows;
    call.n_args = signature.n_args;
    for (int i = 0; i < call.n_args; ++i)
      bind(call, i, signature.args[i], from.args[size_t(i)], arena, inputs, cache, sequences);
    for (const runtime::Choice &choice : from.choices)
      call.choices.push_back({choice.max_rows ? choice.max_rows : std::numeric_limits<int32_t>::max(),
                              choice.kernel == format::kNoKernel ? nullptr : model.kernel(choice.kernel)});
  }
  const Plan &plan = model.bundle().plan;
  const Call &last = plan.calls.back();
  if ((last.op == Op::linear_f16 || last.op == Op::linear_s8) && last.over_logit_rows &&
      last.dims.k == model.bundle().model.width && last.args.back().offset == plan.logits.offset)
    head_ = &calls_.back();
}

void PlanWalker::bind(BoundCall &call, int index, const Arg &arg, const Slice &slice, uint8_t *arena,
                      const StepInputs &inputs, const KvCache &cache, int32_t sequences) {
  format::Buffer &buffer = call.buffers[index];
  set_type(buffer, arg.elem);
  buffer.dimensions = arg.rank;
  buffer.dim = call.shape[index];

  // All but the rows, which every step sets.
  const format::Extents fixed{0, 0, cache.blocks(), sequences, cache.blocks_per_sequence()};
  int64_t stride = 1; // in elements
  for (int i = 0; i < arg.rank; ++i) {
    Dim &dim = call.shape[index][i];
    const bool is_rows = arg.extent[i] == format::kRows || arg.extent[i] == format::kSrcRows;
    if (is_rows && slice.row_stride != 0)
      stride = int64_t(slice.row_stride / format::elem_bytes(arg.elem));
    dim.stride = int32_t(stride); // the validator and the cache bound it by INT32_MAX
    switch (arg.extent[i]) {
    case format::kRows:
      call.row_dims[call.n_row_dims++] = &dim;
      call.is_of_rows[index] = true;
      break;
    case format::kSrcRows:
      call.source_rows = &dim;
      break;
    default:
      dim.extent = format::resolve_extent(arg.extent[i], fixed);
    }
    stride *= dim.extent; // rows are last: what follows them has no stride
  }

  // Kernels take all buffers by pointers to non-const; inputs and weights are never outputs (signature()).
  const auto host = [&buffer](const void *p) { buffer.host = static_cast<uint8_t *>(const_cast<void *>(p)); };
  switch (arg.space) {
  case Space::arena:
    return host(arena + slice.offset);
  case Space::weights:
    return host(model_.bundle().section(SectionKind::weights).data + slice.offset);
  case Space::k_cache:
    return host(cache.k(int32_t(slice.offset)));
  case Space::v_cache:
    return host(cache.v(int32_t(slice.offset)));
  case Space::k_scale:
    return host(cache.k_scale(int32_t(slice.offset)));
  case Space::v_scale:
    return host(cache.v_scale(int32_t(slice.offset)));
  case Space::parts:
    return host(cache.parts());
  case Space::input:
    switch (Input(slice.offset)) {
    case Input::tokens:
      return host(inputs.tokens.data());
    case Input::positions:
      return host(inputs.positions.data());
    case Input::sequences:
      return host(inputs.sequences.data());
    case Input::slots:
      return host(inputs.slots.data());
    case Input::block_table:
      return host(cache.block_table());
    case Input::logit_rows:
      return host(inputs.logit_rows.data());
    case Input::count:
      break;
    }
    break;
  case Space::count:
    break;
  }
}

int run_units(format::KernelFn kernel, const format::Buffer *const *buffers, int n_buffers, int32_t rows,
              int32_t units, Split split, ThreadPool &pool) {
  struct Section {
    format::KernelFn kernel;
    const format::Buffer *const *buffers;
    int n_buffers;
    int32_t rows;
    std::atomic<int> result{0};
  } section{kernel, buffers, n_buffers, rows};
  const auto run_piece = [](void *context, int32_t begin, int32_t end) {
    Section &s = *static_cast<Section *>(context);
    int32_t rows = s.rows;
    void *args[format::kMaxArgs + 3];
    int n = 0;
    for (; n < s.n_buffers; ++n) // kernels take all buffers by pointers to non-const
      args[n] = const_cast<format::Buffer *>(s.buffers[n]);
    for (int32_t *scalar : {&rows, &begin, &end})
      args[n++] = scalar;
    if (const int result = s.kernel(args))
      s.result.store(result, std::memory_order_relaxed);
  };
  pool.run(units, split, run_piece, &section);
  return section.result.load(std::memory_order_relaxed);
}

Status PlanWalker::run_call(BoundCall &call, int32_t rows, int32_t last_position, ThreadPool &pool) {
  const Choice *choice = call.choices.data();
  while (choice->max_rows < rows)
    ++choice;
  if (!choice->function)
    return {};
  for (int i = 0; i < call.n_row_dims; ++i)
    call.row_dims[i]->extent = rows;
  const format::Buffer *buffers[format::kMaxArgs];
  for (int i = 0; i < call.n_args; ++i)
    buffers[i] = &call.buffers[i];
  const int32_t units = format::work_units(call.signature, rows, last_position);
  Split split;
  if (pool.threads() > 1)
    split = split_for(cost_ns(call.op, call.dims, rows, last_position), units, pool.threads());
  if (const int result = run_units(choice->function, buffers, call.n_args, rows, units, split, pool))
    return internal_error(std::string("kernel ") + format::op_name(call.op) + " returned " +
                          std::to_string(result));
  return {};
}

void PlanWalker::read_head_input(int32_t i, float *out) const {
  const BoundCall &head = *head_;
  const format::Buffer &x = head.buffers[0];
  const size_t width = size_t(head.dims.k), row = size_t(i) * size_t(x.dim[1].stride);
  if (head.op == Op::linear_f16) {
    std::memcpy(out, reinterpret_cast<const float *>(x.host) + row, width * sizeof(float));
    return;
  }
  const auto *q = reinterpret_cast<const int8_t *>(x.host) + row; // linear_s8: int8, and its scale a row
  const float scale = reinterpret_cast<const float *>(head.buffers[1].host)[i];
  for (size_t k = 0; k < width; ++k)
    out[k] = float(q[k]) / scale;
}

PlanWalker::HeadRows PlanWalker::head_rows() const {
  const format::Buffer &x = head_->buffers[0], &y = head_->buffers[head_->n_args - 1];
  return {reinterpret_cast<const float *>(x.host), reinterpret_cast<float *>(y.host), x.dim[1].stride,
          y.dim[1].stride};
}

Status PlanWalker::run_head(int32_t row, ThreadPool &pool) {
  // Buffers of rows start at this row for the time of the call; a call over one row has a kernel for one row.
  const auto move = [&](int32_t by) {
    for (int i = 0; i < head_->n_args; ++i)
      if (format::Buffer &b = head_->buffers[i]; head_->is_of_rows[i])
        b.host += int64_t(by) * b.dim[b.dimensions - 1].stride * (b.type_bits / 8);
  };
  move(row);
  Status status = run_call(*head_, 1, 0, pool);
  move(-row);
  return status;
}

Status PlanWalker::run(int32_t rows, int32_t logit_rows, int32_t last_position, int32_t head_rows,
                       ThreadPool &pool) {
  for (BoundCall &call : calls_) {
    const int32_t call_rows = &call == head_ ? head_rows : call.over_logit_rows ? logit_rows : rows;
    if (call_rows == 0)
      continue;
    if (call.source_rows)
      call.source_rows->extent = rows;
    BITNET_RETURN_IF_ERROR(run_call(call, call_rows, last_position, pool));
  }
  return {};
}

} // namespace bitnet::runtime
