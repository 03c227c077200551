"""What to do with other people's files, in two lines of Python each; ``FILE`` stands for the path. Tests run them."""

from __future__ import annotations

ORBAX = (
    "t = orbax.checkpoint.PyTreeCheckpointer().restore(os.path.abspath(FILE)); "
    "t = jax.tree_util.tree_flatten_with_path(t)[0]; "
    "numpy.savez('model.npz', **{jax.tree_util.keystr(p, simple=True, separator='/'): numpy.asarray(v) for p, v in t})"
)
"""A folder of Orbax, where orbax-checkpoint is installed; of a manager's step the folder of one item in it."""

EQUINOX_NAMES = (
    "leaves = jax.tree_util.tree_flatten_with_path(model)[0]; "
    "pathlib.Path('names.txt').write_text('\\n'.join(f\"{jax.tree_util.keystr(p, simple=True, separator='/')}\\t"
    "{jax.numpy.shape(v)}\" for p, v in leaves if equinox.is_array_like(v)))"
)
"""Names and shapes of the leaves of a file of Equinox, where ``model`` is one of the structure that was written."""

HDF5 = (
    "d = {}; h5py.File(FILE).visititems(lambda k, v: d.update({k: v[()]}) if hasattr(v, 'shape') else None); "
    "numpy.savez('model.npz', **d)"
)
"""A file of HDF5, where h5py is installed."""

ONE_OF_SEVERAL = "numpy.savez('model.npz', **{k: v[0] for k, v in numpy.load(FILE).items()})"
"""One copy of replicated parameters, or one layer of stacked ones."""

TRUSTED = (
    "c = torch.load(FILE, map_location='cpu', weights_only=False); sd = c.get('model', c.get('state_dict', c)); "
    "torch.save({k: v for k, v in sd.items() if torch.is_tensor(v) or isinstance(v, dict)}, 'weights.pth')"
)
"""A PyTorch file that torch's restricted reader does not take."""

TRUSTED_MODULE = "torch.save(torch.load(FILE, map_location='cpu', weights_only=False).state_dict(), 'weights.pth')"
"""A PyTorch file that is a pickled module."""

WHOLE = (
    "If one of them is the network itself, take its weights out where its code is installed, and you trust the file: "
    "torch.save(torch.load(FILE, map_location='cpu', weights_only=False)[KEY].state_dict(), 'weights.pth')"
)
"""A PyTorch file that holds a pickled module under a key."""

TORCH_SHARDS = (
    "Where torch is installed, in the folder of the index, put them into one file: "
    "w = json.loads(pathlib.Path(FILE).read_text())['weight_map']; "
    "c = {n: torch.load(n, map_location='cpu', weights_only=True) for n in {*w.values()}}; "
    "torch.save({k: c[n][k] for k, n in w.items()}, 'model.pth')"
)
"""An index of files of PyTorch."""

IS_ORBAX = (
    "an Orbax checkpoint, whose arrays lie in a database of their own. Name its folder: where orbax-checkpoint is "
    "installed (pip install 'ssmreduce[orbax]'), it is read; or convert it where it is: "
    f"{ORBAX}"
)
"""How it is named."""

ORBAX_NAMES = ("_METADATA", "_CHECKPOINT_METADATA", "manifest.ocdbt", "ocdbt.process_0")
"""Entries by which a folder of Orbax is known; a manager's step has them one folder deeper."""
