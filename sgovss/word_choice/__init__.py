"""Choose the words of classes by labelled images, instead of guessing them."""
