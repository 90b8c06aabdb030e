"""The app's own state: paths, settings, conversations, logs. No Qt, so that window, terminal and tests share it."""
