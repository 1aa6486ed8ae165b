"""The administration protocol for scripts and hosting panels: lines on port 7000, a tree of contexts, pending changes."""
