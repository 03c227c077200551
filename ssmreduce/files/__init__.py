"""What lies on disk: checkpoints read and written, whole or not at all, each with the digest of its arrays.

Holds: the containers (:mod:`ssmreduce.files.formats`, one file each), the one atomic writer, :class:`Model`, and the
models that ship with the package. Imports :mod:`ssmreduce.layers`; reads no pickle that a user hands in.
"""
