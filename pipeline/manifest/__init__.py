"""Media types, descriptors, platforms and the views of every manifest; pure, no I/O."""
