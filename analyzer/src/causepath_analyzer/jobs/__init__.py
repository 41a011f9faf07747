"""Reading and analysing in several processes at once, with the result of one."""
