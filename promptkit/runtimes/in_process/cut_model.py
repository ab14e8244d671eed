"""Copies of GGUF files that end after a middle layer: llama.cpp gives the vectors of a model's last layer only.

A copy keeps the output norm, so a token's vector is divided by its root mean square, as after the last layer. Copies
lie in the user's cache folder, where they can be made again; the least recently used are deleted beyond MOST_BYTES.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from promptkit.errors import InputError, ModelLoadFailed, StoreFailed, place
from promptkit.project import cache_folder
from promptkit.runtimes.in_process.gguf import SCALARS, open_gguf
from promptkit.runtimes.in_process.gguf_contents import GgufContents, read_contents, wrong_gguf
from promptkit.runtimes.in_process.gguf_writer import check_other_file, copied, copy_metadata, write_gguf
from promptkit.runtimes.in_process.weights import file_digest
from promptkit.storage.files import make_folder, remove_file

ARCHITECTURES: Final = frozenset({"llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "phi3", "granite", "olmo2"})
"""Architectures whose blocks are alike and follow each other, so that the first of them are a model too."""
MOST_BYTES: Final = 8_000_000_000
MOST_LAYERS: Final = 1_000
_FILES: Final = "split.count"
_LAYER: Final = re.compile(r"blk\.(\d+)\.")


def count_layers(path: Path) -> int | None:
    """Return the number of a model's blocks; None where a copy of the first of them would not be a model."""
    with suppress(OSError, ValueError, OverflowError, struct.error), open_gguf(path) as metadata:
        facts = metadata.values(before="tokenizer.")
        architecture = facts.get("general.architecture", b"").decode("utf-8", "replace")
        layers = facts.get(f"{architecture}.block_count")
        if architecture in ARCHITECTURES and type(layers) is int and 1 < layers <= MOST_LAYERS:
            return layers if _is_whole(path) else None
    return None


def _is_whole(path: Path) -> bool:
    """Tell whether a model is in one file. The number of files may stand after the vocabulary."""
    with open_gguf(path) as metadata:
        return metadata.values({_FILES}).get(_FILES, 1) in (0, 1)


def cut_model(path: Path, layer: int) -> Path:
    """Return a copy of a GGUF file that ends after `layer` blocks, made at its first use.

    Raises ModelLoadFailed where the file has no such layer, is damaged, or the copy cannot be written.
    """
    layers = count_layers(path)
    if layers is None or not 0 < layer < layers:
        raise ModelLoadFailed(f"{place(path)} has no middle layer {layer}: it has {layers or 'no known'} layers")
    folder = cut_models_folder()
    copy = folder / f"{file_digest(path)[:32]}-{layer}.gguf"
    with suppress(OSError):
        os.utime(copy)  # the most recently used
        return copy
    try:
        make_folder(folder)
        write_cut(path, layer, copy)
    except StoreFailed as error:
        hint = "set PROMPTKIT_CACHE to a folder with room where you may write"
        raise ModelLoadFailed(
            f"cannot keep the first {layer} layers of {place(path)} in {place(folder)}: {error}", hint=hint
        ) from error
    except InputError as error:
        raise ModelLoadFailed(f"cannot load {place(path)}: {error.problems[0].message}") from error
    _delete_oldest(folder, copy)
    return copy


def write_cut(path: Path, layers: int, to: Path) -> None:
    """Write a copy of a model that ends after its first `layers` layers.

    Raises InputError where the file is not a model of more layers than that, StoreFailed where the copy cannot be
    written.
    """
    check_other_file(path, to)
    contents = read_contents(path)
    key = f"{contents.architecture}.block_count"
    count = contents.metadata.get(key)
    if type(count) is not int:
        raise wrong_gguf(path, "the metadata does not give the number of layers")
    if not 1 <= layers < count:
        raise wrong_gguf(path, f"a model of {count} layers cannot be cut after {layers}")
    kept = [tensor for tensor in contents.tensors.values() if _layer(tensor.name) < layers]
    metadata = copy_metadata(contents, {key: layers}, f"cut after {layers} layers")
    metadata |= _cut_lists(contents, count, layers)
    write_gguf(to, metadata, [copied(contents, tensor) for tensor in kept])


def _layer(name: str) -> int:
    """Return the number of the layer that a tensor belongs to, -1 for one of the whole model."""
    match = _LAYER.match(name)
    return int(match[1]) if match else -1


def _cut_lists(contents: GgufContents, count: int, layers: int) -> Iterator[tuple[str, bytes]]:
    """Yield the lists of the metadata with a number for each of `count` layers, cut to the first `layers`."""
    for key, raw in contents.raw.items():
        value = contents.metadata[key]
        if key.startswith(f"{contents.architecture}.") and isinstance(value, tuple) and len(value) == count:
            kind, inner = struct.unpack_from("<II", raw)
            size = struct.calcsize(f"<{layers}{SCALARS[inner]}")
            yield key, struct.pack("<IIQ", kind, inner, layers) + raw[16 : 16 + size]


def cut_models_folder() -> Path:
    """Return the folder that keeps the copies."""
    return cache_folder() / "cut_models"


def delete_cuts(path: Path, *, but: int | None) -> None:
    """Delete the copies of a file, but that after the layer `but`."""
    kept = f"-{but}.gguf"
    for copy in cut_models_folder().glob(f"{file_digest(path)[:32]}-*.gguf"):
        if not copy.name.endswith(kept):
            with suppress(OSError, StoreFailed):
                remove_file(copy)


def _delete_oldest(folder: Path, newest: Path) -> None:
    total = 0
    found: list[tuple[float, int, Path]] = []
    for copy in folder.glob("*.gguf"):
        with suppress(OSError):
            status = copy.stat()
            found.append((status.st_mtime, status.st_size, copy))
    for _, size, copy in sorted(found, reverse=True):
        total += size
        if total > MOST_BYTES and copy != newest:
            with suppress(OSError, StoreFailed):
                remove_file(copy)
