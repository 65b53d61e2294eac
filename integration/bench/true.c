/* true: the floor of a verb that only prints: a static program that starts and ends. */
int main(void)
{
	return 0;
}
