"""Class names as users type and save them: lists and files in the forms of many programs."""
