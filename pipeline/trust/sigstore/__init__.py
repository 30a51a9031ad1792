"""Signatures of sigstore: keys, certificates, log entries. cryptography and PyNaCl are loaded where they are used.

Sources: containers-policy.json(5), containers-sigstore-signing-params.yaml(5), cosign's SIGNATURE_SPEC.
"""
