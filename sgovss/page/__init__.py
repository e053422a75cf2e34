"""The local web page: its server, the pictures and scenes that it holds, and what it sends to the browser."""
