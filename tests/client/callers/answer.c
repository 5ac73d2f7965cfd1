/* What the callers call. */
int answer(void);
int answer(void) { return 7; }
