// Byte-pair encoding of one piece of text: starts from its bytes (or characters) and joins adjacent tokens,
// best first, until no join is left. O(n log n) for a piece of n bytes. Cutting text into pieces and special
// tokens are not its business.
#pragma once
#include "runtime/tokenizer/vocabulary.h"
#include <array>
#include <atomic>
#include <memory>
#include <optional>

namespace bitnet::runtime {

struct BytePairMerge {
  int32_t left, right, result;
};

/// Immutable but for a memo per token that any thread may fill (with the same value); `vocabulary` must
/// outlive it.
class BytePairEncoder {
public:
  /// Buffers of one encoding thread, reused from piece to piece.
  struct Workspace {
    struct Symbol {
      uint32_t previous, next; ///< starts of the neighbours; kNone at the ends
      uint32_t end;            ///< the symbol's bytes are [its index, end); 0: joined into another one
      int32_t id;
    };
    struct Candidate {
      uint32_t rank, left, end; ///< joining the symbol at `left` with its neighbour gives bytes [left, end)
      int32_t result;
    };
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
  };

  /// How to start from characters: one without a token becomes the tokens <0xNN> of its bytes if it may and
  /// they are all there, else `unknown`, one for a run of them if these are fused.
  struct Characters {
    bool byte_fallback, fuse_unknown;
  };

  /// Order of joining = order of `merges` (whose ids must be < vocabulary.size()). Of equal pairs the first
  /// counts. whole_pieces: a piece that is a token is taken without joining. Without `characters` the joining
  /// starts from bytes.
  BytePairEncoder(const Vocabulary &vocabulary, const std::vector<BytePairMerge> &merges, bool whole_pieces,
                  std::optional<Characters> characters = std::nullopt);
  /// Order of joining = id of the joined token (tiktoken); a piece that is a token is taken whole.
  explicit BytePairEncoder(const Vocabulary &vocabulary);

  /// Appends the ids of `piece` (fewer than 2^31 bytes). False: a byte of it has no token; `unknown` stands
  /// for it then, or if that is -1 nothing is appended.
  bool encode(std::string_view piece, int32_t unknown, Workspace *workspace, std::vector<int32_t> *ids) const;

private:
  struct Pair {
    int32_t left, right; ///< left -1: free slot
    uint32_t rank;
    int32_t result;
  };
  enum Memo : uint8_t { unseen, joins_to_itself, splits };

  void find_bytes();
  const Pair *find_pair(int32_t left, int32_t right) const;
  void propose(std::string_view piece, uint32_t left, Workspace *workspace) const;
  bool start_from_bytes(std::string_view piece, int32_t unknown, Workspace *workspace) const;
  bool start_from_characters(std::string_view piece, int32_t unknown, Workspace *workspace) const;
  bool join(std::string_view piece, int32_t unknown, Workspace *workspace, std::vector<int32_t> *ids) const;

  const Vocabulary &vocabulary_;
  const bool by_id_, whole_pieces_;
  const std::optional<Characters> characters_;
  std::array<int32_t, 256> byte_ids_;
  std::vector<Pair> pairs_; ///< open addressing, linear probing
  uint32_t pair_mask_ = 0;
  /// Without whole_pieces a token need not be what its own bytes encode to; asked once for each token.
  std::unique_ptr<std::atomic<uint8_t>[]> memo_;
};

} // namespace bitnet::runtime
