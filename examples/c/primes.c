/* curl -X POST 'http://127.0.0.1:8080/deploy?name=primes&lang=c' --data-binary @examples/c/primes.c
 * Counts the primes up to the number in the payload, by trial division: all it needs is CPU time. */
#include <stdio.h>

static int is_prime(unsigned long n) {
    if (n < 4)
        return n >= 2;
    if (n % 2 == 0 || n % 3 == 0)
        return 0;
    for (unsigned long d = 5; d <= n / d; d += 6)
        if (n % d == 0 || n % (d + 2) == 0)
            return 0;
    return 1;
}

int main(void) {
    unsigned long limit, count = 0;

    if (scanf("%lu", &limit) != 1) {
        printf("the payload is a number, for example 100000\n");
        return 2;
    }
    for (unsigned long n = 2; n <= limit; n++)
        count += (unsigned long)is_prime(n);
    printf("%lu primes up to %lu\n", count, limit);
    return 0;
}
