"""A model of a GGUF file, computed in JAX as llama.cpp computes it, with gradients.

    model = Transformer.read(path, dtype="float16")
    states = embed(model.config, model.weights, tokens)  # [rows, length] → [rows, length, width]
    states = run_layers(model.config, model.weights, states, lora=lora)
    logprobs = log_probabilities(model.config, model.weights, states, places)  # [rows, n] → [rows, n, vocabulary]

The functions of `forward` are pure. `config` is hashable and goes to `jax.jit` as a static argument; `weights` are a
pytree that stays frozen. Texts are padded at their right with any token: attention looks back only, so no place sees
the padding, and a mask is not needed. `places` are where the next token is predicted: a text's token at `place + 1`.

The states after layer 17, `run_layers(…, stop=18)`, may be kept, and training goes on with `start=18`. A `Lora` has
the matrices of consecutive layers, `first` to `first + n - 1`. Its pytree has only the numbers that are fitted, so
gradients, optimizers and `jax.tree` functions take it as it is.
"""
