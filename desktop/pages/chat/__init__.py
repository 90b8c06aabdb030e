"""The chat page: header, conversation, composer. What a turn is and does is `desktop.services.chat_service`."""
