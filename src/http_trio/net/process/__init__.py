"""The process as the system has it: its limits, and how it is handed over to the next."""
