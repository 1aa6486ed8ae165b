"""Name resolution for the whole node (SMO-20): one resolver, one cache, answers as small dataclasses."""
