"""The subcommands of ``sgovss``, one module each."""
