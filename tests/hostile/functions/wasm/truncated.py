# Tries: a module that ends in the middle. Expected: 422 compile.
from wasm import module, shout

MODULE = module(**shout())[:-20]
