"""The operations, one folder each: the contract, and beside it one file a backend."""
