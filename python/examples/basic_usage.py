"""Continues a prompt, first as one text, then as a stream: python basic_usage.py MODEL [PROMPT].

MODEL is a compiled model (.bnx) or a checkpoint (.gguf, .safetensors, .pt, a folder), which is compiled the first time.
"""

import sys

import bitnet_py


def main() -> None:
    path = sys.argv[1]
    prompt = sys.argv[2] if len(sys.argv) > 2 else "And God said"

    model = bitnet_py.load_model(path)
    tokenizer = bitnet_py.create_tokenizer(path)
    print(f"{model.num_parameters():,} parameters on {model.device}")

    # One text. Without sampling, the likeliest token is taken each time.
    inference = bitnet_py.SimpleInference(
        model, tokenizer, bitnet_py.InferenceConfig(max_new_tokens=32, do_sample=False)
    )
    print(prompt + inference.generate(prompt))

    # The same, piece by piece as it is made; sampled, and the same again for the same seed.
    inference.config = bitnet_py.InferenceConfig(max_new_tokens=32, temperature=0.8, top_p=0.95, seed=7)
    stream = inference.generate_stream(prompt)
    print(prompt, end="")
    for piece in stream:
        print(piece, end="", flush=True)
    stats = stream.get_stream_stats()
    print(f"\n{stats['tokens_generated']} tokens, ended by {stats['finish_reason']}")
    print(f"{stats['tokens_per_second']:.0f} tokens/s", file=sys.stderr)


if __name__ == "__main__":
    main()
