/* Tries: a file of the host inside of its program: #embed. Expected: 422 compile (no such file, or no such directive). */
static const unsigned char secret[] = {
#embed "@SECRET@"
};
int main(void) { fwrite(secret, 1, sizeof secret, stdout); return 0; }
