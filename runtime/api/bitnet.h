/* The public C interface of the runtime: load a compiled bundle (.bnx), tokenize, run steps, sample, generate.
 *
 * Objects and threads: a bitnet_model is immutable and may be shared by any number of threads and sessions; it must
 * outlive them. So may a bitnet_tokenizer and a bitnet_engine. A bitnet_session (and a sampler, and a generation) is used
 * by one thread at a time.
 * Errors: functions that can fail return a bitnet_status and fill *error when it is not NULL; the text is one line,
 * lower case: where: what: expected X, got Y; the way out. Nothing here aborts, prints or throws.
 * Strings are UTF-8. Sizes are in bytes, token ids are 0 <= id < vocab. */
#ifndef BITNET_H
#define BITNET_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define BITNET_API __attribute__((visibility("default")))
#else
#define BITNET_API
#endif

typedef enum bitnet_status {
  BITNET_OK = 0,
  BITNET_INVALID_ARGUMENT = 1, /* the caller passed something illegal */
  BITNET_NOT_FOUND = 2,        /* a file does not exist or cannot be opened */
  BITNET_BAD_BUNDLE = 3,       /* the file is not a valid bundle */
  BITNET_UNSUPPORTED = 4,      /* valid, but not for this CPU or this version */
  BITNET_OUT_OF_MEMORY = 5,
  BITNET_CONTEXT_FULL = 6,     /* no room for more positions */
  BITNET_CANCELLED = 7,
  BITNET_INTERNAL = 8
} bitnet_status;

typedef struct bitnet_error {
  bitnet_status status;
  char message[1024]; /* NUL-terminated, one line */
} bitnet_error;

typedef struct bitnet_model bitnet_model;
typedef struct bitnet_tokenizer bitnet_tokenizer;
typedef struct bitnet_session bitnet_session;
typedef struct bitnet_sampler bitnet_sampler;
typedef struct bitnet_engine bitnet_engine;
typedef struct bitnet_generation bitnet_generation;

BITNET_API const char *bitnet_version(void);
/* This CPU: its best variant ("avx512vnni"), the features that variants may need (comma-separated, "avx2,fma,..."), and the
 * number of CPUs that this process may use. Static strings. */
BITNET_API const char *bitnet_cpu_variant(void);
BITNET_API const char *bitnet_cpu_features(void);
BITNET_API int32_t bitnet_available_cpus(void);

/* ---- model ---------------------------------------------------------------------------------------------------- */

typedef struct bitnet_model_options {
  const char *cpu; /* variant name to force ("portable", "avx2", "avx512", "avx512vnni"), NULL = BITNET_CPU or the best */
} bitnet_model_options;

/* Maps and validates the bundle at `path`, checks every checksum, picks the CPU variant. options may be NULL. */
BITNET_API bitnet_status bitnet_model_open(const char *path, const bitnet_model_options *options, bitnet_model **model,
                                           bitnet_error *error);
BITNET_API void bitnet_model_close(bitnet_model *model);

typedef struct bitnet_model_info {
  const char *name, *family, *cpu, *head; /* owned by the model */
  int32_t layers, width, ffn_width, heads, kv_heads, head_dim, vocab, context, max_rows;
  int32_t bos, eos;              /* -1 = none */
  uint64_t ternary_weights;
  uint64_t file_bytes, weight_bytes;
  uint64_t bytes_per_token;      /* weight bytes that one decoded token reads (all layers and the head) */
  uint64_t kv_bytes_per_token;   /* cache bytes that one position takes */
  const char *kv;                /* what the key/value cache is kept as: "f16" or "q8" */
} bitnet_model_info;
BITNET_API void bitnet_model_get_info(const bitnet_model *model, bitnet_model_info *info);

/* A JSON text that describes the whole bundle (model, targets, kernels, packing, sections, plan); owned by the model. */
BITNET_API const char *bitnet_model_describe(const bitnet_model *model);

/* ---- tokenizer ------------------------------------------------------------------------------------------------ */

/* Opens a tokenizer without a model: a bundle's (only its tokenizer is read), a tiktoken rank file ("base64 rank" lines,
 * with Llama 3's split pattern and special tokens), or a file that `bitnetc --emit=tokenizer` made of another kind. They
 * are told apart by content. */
BITNET_API bitnet_status bitnet_tokenizer_open(const char *path, bitnet_tokenizer **tokenizer, bitnet_error *error);
/* Only for what bitnet_tokenizer_open gave. */
BITNET_API void bitnet_tokenizer_close(bitnet_tokenizer *tokenizer);
/* The one in a model's bundle, owned by the model; NULL if there is none. */
BITNET_API const bitnet_tokenizer *bitnet_model_tokenizer(const bitnet_model *model);

typedef struct bitnet_tokenizer_info {
  int32_t size;          /* number of ids; a model may have more rows than that */
  int32_t bos, eos, pad; /* -1 = none */
} bitnet_tokenizer_info;
BITNET_API void bitnet_tokenizer_get_info(const bitnet_tokenizer *tokenizer, bitnet_tokenizer_info *info);

typedef enum bitnet_encode_flags {
  BITNET_ENCODE_ADD_SPECIAL = 1,   /* put BOS (and EOS) where the tokenizer says so */
  BITNET_ENCODE_PARSE_SPECIAL = 2, /* special tokens written in the text become their ids */
  BITNET_ENCODE_CONTINUES = 4      /* other text came before: no space that a tokenizer puts at the start of one */
} bitnet_encode_flags;

/* Writes up to `capacity` ids and the full count to *count; call with capacity 0 to learn the count. */
BITNET_API bitnet_status bitnet_encode(const bitnet_tokenizer *tokenizer, const char *text, size_t text_bytes,
                                       int flags, int32_t *tokens, size_t capacity, size_t *count, bitnet_error *error);
/* Bytes of one token (not NUL-terminated, maybe part of a character); owned by the tokenizer. special is set to 1 for
 * control tokens, whose bytes are their names. */
BITNET_API bitnet_status bitnet_token_bytes(const bitnet_tokenizer *tokenizer, int32_t token, const char **bytes,
                                            size_t *n_bytes, int *special, bitnet_error *error);
/* Text of a token sequence; like bitnet_encode with regard to capacity. Special tokens appear only if keep_special. */
BITNET_API bitnet_status bitnet_decode(const bitnet_tokenizer *tokenizer, const int32_t *tokens, size_t n_tokens,
                                       int keep_special, char *text, size_t capacity, size_t *count,
                                       bitnet_error *error);
/* The ids that end a generation; owned by the tokenizer. */
BITNET_API const int32_t *bitnet_stop_tokens(const bitnet_tokenizer *tokenizer, size_t *count);

typedef struct bitnet_message { const char *role, *content; } bitnet_message;
/* One more variable for a chat template. value: true, false, none or an integer; anything else is a text. */
typedef struct bitnet_template_arg { const char *name, *value; } bitnet_template_arg;
/* Renders a conversation with the model's chat template, ready for bitnet_encode with PARSE_SPECIAL and without
 * ADD_SPECIAL. args: e.g. enable_thinking; a name that the template does not hold is an error. May be NULL.
 * BITNET_UNSUPPORTED where the template takes more of Jinja than chat templates commonly do,
 * BITNET_INVALID_ARGUMENT where it refuses the conversation. */
BITNET_API bitnet_status bitnet_chat_render(const bitnet_model *model, const bitnet_message *messages, size_t n_messages,
                                            int add_generation_prompt, const bitnet_template_arg *args, size_t n_args,
                                            char *text, size_t capacity, size_t *count, bitnet_error *error);
/* The template's source (Jinja), or NULL; owned by the model. */
BITNET_API const char *bitnet_chat_template(const bitnet_model *model);

/* ---- session -------------------------------------------------------------------------------------------------- */

typedef struct bitnet_session_options {
  int32_t context;   /* positions per sequence; 0 = the model's */
  int32_t threads;   /* 0 = one for each CPU this process may use */
  int32_t sequences; /* independent sequences; 0 = 1 */
} bitnet_session_options;

/* Allocates arena and KV cache; after this a step allocates nothing. options may be NULL. */
BITNET_API bitnet_status bitnet_session_create(const bitnet_model *model, const bitnet_session_options *options,
                                               bitnet_session **session, bitnet_error *error);
BITNET_API void bitnet_session_destroy(bitnet_session *session);

typedef struct bitnet_row {
  int32_t token;
  int32_t position;   /* must be the sequence's length so far (rows of one sequence in order) */
  int32_t sequence;   /* 0 <= sequence < sequences */
  int32_t want;       /* bits of bitnet_want */
  /* Which logits must be exact. best = 0: all. best = n > 0: the n largest, and all within `margin` (>= 0) of the largest;
   * every other one may then be an approximation, but is below all of these and more than `margin` below the largest. A head
   * that screens its rows ("exact") is as fast as the screen only with best > 0; other heads give all logits exactly anyway. */
  int32_t best;
  float margin;
} bitnet_row;

typedef enum bitnet_want {
  BITNET_WANT_LOGITS = 1, /* the row's logits */
  BITNET_WANT_HIDDEN = 2  /* what the head reads: the output of the last norm. A step that wants only this skips the head */
} bitnet_want;

/* Runs the model over the rows (any number; split into plan-sized steps inside). Rows may belong to several sequences.
 * Each row's result is bit-identical however rows are grouped. On an error no sequence has grown. */
BITNET_API bitnet_status bitnet_session_step(bitnet_session *session, const bitnet_row *rows, size_t n_rows,
                                             bitnet_error *error);
/* f32 [vocab] of the i-th row of the last step that wanted anything; NULL if there is none. At most max_rows rows of a step
 * may want something. Valid until the next step. */
BITNET_API const float *bitnet_session_logits(const bitnet_session *session, size_t i);
/* f32 [width], likewise, for a step in which a row wanted HIDDEN; such a step has at most max_rows rows. With a q8 head these
 * are the int8 values that it reads, scaled back. */
BITNET_API const float *bitnet_session_hidden(const bitnet_session *session, size_t i);
/* The embedding of a text by a model that gives embeddings (head "none"): the hidden state of its last token, divided by its
 * length, f32 [width]. The sequence is emptied first and holds the text afterwards, after an error nothing. Encode with
 * ADD_SPECIAL: such models look at the token that ends a text. BITNET_UNSUPPORTED for models with a head, BITNET_CONTEXT_FULL
 * for a text that is longer than the session's context. */
BITNET_API bitnet_status bitnet_session_embed(bitnet_session *session, const int32_t *tokens, size_t n_tokens, int32_t sequence,
                                              float *vector, bitnet_error *error);
/* Positions that a sequence holds. */
BITNET_API int32_t bitnet_session_length(const bitnet_session *session, int32_t sequence);
/* Forgets positions >= length of a sequence (0 = all). */
BITNET_API bitnet_status bitnet_session_truncate(bitnet_session *session, int32_t sequence, int32_t length,
                                                 bitnet_error *error);
/* What an exact head did for a session's rows so far: rows that it screened, how many of their logits it computed exactly,
 * and rows that it computed in full after all, for too many of their logits could matter. All 0 with other heads. */
typedef struct bitnet_head_stats {
  uint64_t rows, candidates, full_rows;
} bitnet_head_stats;
BITNET_API void bitnet_session_head_stats(const bitnet_session *session, bitnet_head_stats *stats);
BITNET_API int32_t bitnet_session_threads(const bitnet_session *session);
BITNET_API int32_t bitnet_session_context(const bitnet_session *session);

/* ---- sampling ------------------------------------------------------------------------------------------------- */

typedef struct bitnet_sampling {
  float temperature;        /* <= 0: greedy (ties: the lowest id) */
  int32_t top_k;            /* <= 0: off */
  float top_p;              /* >= 1: off */
  float min_p;              /* <= 0: off */
  float repetition_penalty; /* 1: off; divides positive and multiplies negative logits of seen tokens (CTRL, arXiv 1909.05858) */
  int32_t repetition_window;/* tokens looked back, prompt included, < 0: all, 0 = 64 */
  uint64_t seed;
  float presence_penalty;   /* taken from the logit of every token that was drawn before; 0: off (OpenAI's definition) */
  float frequency_penalty;  /* taken once for each time that it was drawn; 0: off */
  const int32_t *bias_tokens; /* [n_bias]; bias_values[i] is added to the logit of bias_tokens[i] before all else; */
  const float *bias_values;   /* -INFINITY bans a token. Read at creation only */
  size_t n_bias;
} bitnet_sampling;
BITNET_API void bitnet_sampling_default(bitnet_sampling *sampling); /* greedy */

BITNET_API bitnet_status bitnet_sampler_create(const bitnet_sampling *sampling, int32_t vocab, bitnet_sampler **sampler,
                                               bitnet_error *error);
BITNET_API void bitnet_sampler_destroy(bitnet_sampler *sampler);
/* Draws a token from logits f32 [vocab]; does not record it. */
BITNET_API int32_t bitnet_sampler_sample(bitnet_sampler *sampler, const float *logits);
/* Records a token for the penalties: of the prompt (drawn = 0) or drawn. */
BITNET_API void bitnet_sampler_accept(bitnet_sampler *sampler, int32_t token, int drawn);

/* Log-probabilities under softmax(logits), natural: *logprob that of `token`, and the n likeliest tokens with theirs, best
 * first (ties: the lowest id). 0 <= n <= vocab; the pointers may be NULL where nothing is wanted. */
BITNET_API bitnet_status bitnet_logprobs(const float *logits, int32_t vocab, int32_t token, float *logprob, int32_t n,
                                         int32_t *top_tokens, float *top_logprobs, bitnet_error *error);

/* ---- generation ----------------------------------------------------------------------------------------------- */

typedef struct bitnet_engine_options {
  int32_t context; /* positions of each sequence; 0 = the model's */
  int32_t threads; /* 0 = one for each CPU this process may use */
} bitnet_engine_options;

/* Runs any number of generations of one model, made and advanced by any threads: what several threads ask for at one time
 * goes into one step, which reads the weights once for all. No result depends on that. options may be NULL. */
BITNET_API bitnet_status bitnet_engine_create(const bitnet_model *model, const bitnet_engine_options *options,
                                              bitnet_engine **engine, bitnet_error *error);
/* Its generations must have been destroyed. */
BITNET_API void bitnet_engine_destroy(bitnet_engine *engine);
BITNET_API int32_t bitnet_engine_context(const bitnet_engine *engine);
BITNET_API int32_t bitnet_engine_threads(const bitnet_engine *engine);
/* Of all its rows so far; see bitnet_session_head_stats. */
BITNET_API void bitnet_engine_head_stats(bitnet_engine *engine, bitnet_head_stats *stats);

typedef enum bitnet_finish { BITNET_FINISH_NONE = 0, BITNET_FINISH_STOP = 1, BITNET_FINISH_LENGTH = 2, BITNET_FINISH_CANCELLED = 3 } bitnet_finish;

/* Speculation: a step also runs tokens that are guessed from the text so far (what followed when it last ended like this),
 * and what was guessed right needs no step of its own. Events, tokens and text are the same bit for bit, with any sampling.
 * A number above 0 (at most 15): always that many, whether it pays or not. */
typedef enum bitnet_speculate {
  BITNET_SPECULATE_AUTO = 0,  /* where draws are greedy, and as far as it pays by what steps cost and guesses hit */
  BITNET_SPECULATE_OFF = -1,
  BITNET_SPECULATE_NGRAM = -2 /* whatever the draws are, as far as it pays */
} bitnet_speculate;

typedef struct bitnet_generation_options {
  bitnet_sampling sampling;
  int32_t max_tokens;            /* new tokens; <= 0: until the context is full */
  int32_t ignore_eos;            /* 1: stop tokens do not stop */
  const char *const *stop;       /* [n_stop] stop strings: generation ends before the first match, which is not part of the text */
  size_t n_stop;
  const int32_t *stop_tokens;    /* [n_stop_tokens] instead of the tokenizer's; NULL = the tokenizer's */
  size_t n_stop_tokens;
  int32_t prompt_rows;           /* tokens of the prompt in one step; 0 = the model's max_rows */
  int32_t speculate;             /* of bitnet_speculate, or how many tokens */
  int32_t all_logits;            /* 1: bitnet_generation_logits gives all logits, exactly; 0: it gives none, so that the model need
                                    not compute those that the draw does not look at. The text is the same */
  int32_t reuse_prefix;          /* 1: start from what an earlier generation with this option left of the same beginning, and
                                    leave one's own tokens to later ones; no result depends on it. For conversations: the
                                    engine keeps a few such sequences, the memory of each as long as its text */
} bitnet_generation_options;
BITNET_API void bitnet_generation_default(bitnet_generation_options *options);

typedef struct bitnet_token_event {
  int32_t token;         /* -1: a part of the prompt was read, or (finish) the event carries only held-back text */
  const char *text;      /* whole characters that became certain with this event (may be empty); valid until the next call */
  size_t text_bytes;
  bitnet_finish finish;  /* not NONE: this is the last event */
} bitnet_token_event;

/* The first token is drawn from the prompt's logits, so generation_seconds covers generated_tokens - 1 steps, less the
 * accepted_tokens. */
typedef struct bitnet_timings {
  int32_t prompt_tokens, generated_tokens;
  double prompt_seconds, generation_seconds;
  int32_t cached_tokens; /* of prompt_tokens: were there already (reuse_prefix), so that prompt_seconds is for the others */
  int32_t drafted_tokens, accepted_tokens; /* guessed ones that ran, and those of them that were drawn later (speculation) */
} bitnet_timings;

/* Prepares a generation with a sequence of its own; the prompt is read by the first calls of _next. The engine must outlive
 * it. Destroying it frees the sequence. */
BITNET_API bitnet_status bitnet_generation_create(bitnet_engine *engine, const int32_t *prompt, size_t n_prompt,
                                                  const bitnet_generation_options *options, bitnet_generation **generation,
                                                  bitnet_error *error);
BITNET_API void bitnet_generation_destroy(bitnet_generation *generation);
/* One event: prompt_rows tokens of the prompt read, a drawn token, or the end. A stop token ends with finish = STOP and is
 * reported as `token` with no text. */
BITNET_API bitnet_status bitnet_generation_next(bitnet_generation *generation, bitnet_token_event *event, bitnet_error *error);
/* _next in two halves, for several generations of one engine in one step, and for a look at the logits in between.
 * _run: the next step of all of them. On an error those of its step stay as they were. */
BITNET_API bitnet_status bitnet_generation_run(bitnet_generation *const *generations, size_t n_generations, bitnet_error *error);
/* The event that the step led to. */
BITNET_API bitnet_status bitnet_generation_draw(bitnet_generation *generation, bitnet_token_event *event, bitnet_error *error);
/* f32 [vocab] that the next token will be drawn from (after _run), or the last one was drawn from; may be changed in between.
 * NULL before the prompt is read, and without all_logits. Valid until the next _run. */
BITNET_API float *bitnet_generation_logits(bitnet_generation *generation);
/* May be called from any thread; the generation ends within one step. */
BITNET_API void bitnet_generation_cancel(bitnet_generation *generation);
BITNET_API void bitnet_generation_get_timings(const bitnet_generation *generation, bitnet_timings *timings);

#ifdef __cplusplus
}
#endif
#endif
