/* Calls a function of another library. */
int answer(void);
int call_answer(void);
int call_answer(void) { return answer(); }
