"""Tests of the administration protocol."""
