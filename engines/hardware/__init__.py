"""What machine this is: asking the system, and the value that everybody else reads. No native engine, no Qt."""
