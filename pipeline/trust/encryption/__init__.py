"""Layers encrypted and decrypted as ocicrypt does it, for skopeo, Podman, containerd and CRI-O to read and to write.

A layer is encrypted with a key of its own, and that key for each recipient: in annotations of the layer's descriptor.
Sources: containers/ocicrypt blockcipher, keywrap and spec; imgcrypt docs; the libraries are imported here alone.
"""
