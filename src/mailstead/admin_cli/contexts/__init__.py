"""The contexts of the administration protocol, a module for each or for a small family."""
