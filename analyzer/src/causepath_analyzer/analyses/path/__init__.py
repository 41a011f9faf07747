"""What the run waited for: kinds, causes, the critical path, and what adds up along it."""
