"""The places where the code of other packages is patched, one module for each of them."""
