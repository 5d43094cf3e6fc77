"""Continues a prompt, first as one text, then as a stream: python basic_usage.py MODEL [PROMPT].

MODEL is a compiled model (.bnx) or a checkpoint (.gguf, .safetensors, a folder), which is compiled the first time.
"""

import sys

import bitnet_py


def main() -> None:
    path = sys.argv[1]
    prompt = sys.argv[2] if len(sys.argv) > 2 else "And God said"

    model = bitnet_py.load_model(path)
    tokenizer = bitnet_py.create_tokenizer(path)
    inference = bitnet_py.SimpleInference(model, tokenizer)
    print(prompt + inference.generate(prompt, max_new_tokens=32))

    stream = inference.generate_stream(prompt, max_new_tokens=32, temperature=0.8, top_p=0.95, seed=7)
    print(prompt, end="")
    for piece in stream:
        print(piece, end="", flush=True)
    timings = stream.timings
    speed = (timings["generated_tokens"] - 1) / max(timings["generation_seconds"], 1e-9)
    print(f"\n{len(stream.tokens)} tokens, {speed:.0f} tok/s, ended by {stream.finish_reason}", file=sys.stderr)


if __name__ == "__main__":
    main()
