/* A whole program in C: loads a bundle, feeds token ids and prints the greedy continuation.
 *   c_api_example model.bnx 8 1 2 3     generates 8 tokens after the tokens 1 2 3 */
#include "runtime/api/bitnet.h"
#include <stdio.h>
#include <stdlib.h>

static int fail(const bitnet_error *error) {
  fprintf(stderr, "error: %s\n", error->message);
  return 1;
}

static int32_t greedy(const float *logits, int32_t vocab) {
  int32_t best = 0;
  for (int32_t i = 1; i < vocab; ++i)
    if (logits[i] > logits[best])
      best = i;
  return best;
}

int main(int argc, char **argv) {
  bitnet_error error;
  bitnet_model *model = NULL;
  bitnet_session *session = NULL;
  bitnet_model_info info;
  if (argc < 4) {
    fprintf(stderr, "usage: %s model.bnx count token...\n", argv[0]);
    return 2;
  }
  if (bitnet_model_open(argv[1], NULL, &model, &error) != BITNET_OK)
    return fail(&error);
  bitnet_model_get_info(model, &info);
  if (bitnet_session_create(model, NULL, &session, &error) != BITNET_OK) {
    bitnet_model_close(model);
    return fail(&error);
  }

  /* The prompt in one step; only its last row needs logits. */
  const int32_t n_prompt = argc - 3;
  bitnet_row *prompt = calloc((size_t)n_prompt, sizeof *prompt);
  for (int32_t i = 0; i < n_prompt; ++i) {
    prompt[i].token = (int32_t)strtol(argv[3 + i], NULL, 10);
    prompt[i].position = i;
    prompt[i].want = i + 1 == n_prompt;
  }
  bitnet_status status = bitnet_session_step(session, prompt, (size_t)n_prompt, &error);
  free(prompt);

  /* Then one token at a time. */
  const long count = strtol(argv[2], NULL, 10);
  for (long i = 0; i < count && status == BITNET_OK; ++i) {
    const int32_t token = greedy(bitnet_session_logits(session, 0), info.vocab);
    printf("%d%s", (int)token, i + 1 == count ? "\n" : " ");
    const bitnet_row row = {token, bitnet_session_length(session, 0), 0, 1, 0, 0};
    status = bitnet_session_step(session, &row, 1, &error);
  }
  bitnet_session_destroy(session);
  bitnet_model_close(model);
  return status == BITNET_OK ? 0 : fail(&error);
}
