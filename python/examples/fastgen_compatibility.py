"""FastGen as the original has it: python fastgen_compatibility.py MODEL [PROMPT ...].

But for the import, every line is what a user of the original writes. Three things are better: prompts of any number and
length are right together, a plain Tokenizer will do, and gen_args' temperature and top_p are honoured.
"""

import sys

import bitnet_py as fast  # was: import model as fast


def main() -> None:
    ckpt_dir = sys.argv[1]  # the original: a folder with model_state_int2.pt; here also a .bnx, .gguf, ...
    prompts = sys.argv[2:] or ["And God said", "And it came to pass"]

    gen_args = fast.GenArgs(gen_length=24)
    g = fast.FastGen.build(ckpt_dir, gen_args, "cpu")

    tokens = [g.tokenizer.encode(prompt, bos=True, eos=False) for prompt in prompts]
    stats, results = g.generate_all(tokens, use_cuda_graphs=True, use_sampling=False)

    for prompt, result in zip(prompts, results, strict=True):
        print(f"> {prompt}")
        print(g.tokenizer.decode(result))
        print("---------------")
    for phase in stats.phases:
        print(phase.show())


if __name__ == "__main__":
    main()
