"""Where threads and processes meet Qt: QObjects that use QtCore only, with state and signals. No widgets."""
